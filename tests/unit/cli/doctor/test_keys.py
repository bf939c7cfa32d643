"""The states and ages of our signing keys."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from compat_auth.cli.doctor.keys import examine_keys
from compat_auth.cli.doctor.result import Result
from compat_auth.config import parse_settings
from compat_auth.tokens.keys.keys import create_keys, rotate_keys

DAY_S = 86_400
NOW = int(time.time())


def results_of(path: Path) -> list[Result]:
    token = {"strategy": "key_pair", "key_file": str(path)}
    return list(examine_keys(parse_settings({"token": token}, origin="test")))


@pytest.mark.parametrize(
    ("age_days", "status"),
    [
        pytest.param(3, "ok", id="young"),
        pytest.param(400, "warning", id="old"),
        pytest.param(-3, "warning", id="future"),
    ],
)
def test_a_key_has_an_age(tmp_path: Path, age_days: int, status: str) -> None:
    path = tmp_path / "keys.json"
    create_keys(path, algorithm="EdDSA", now=NOW - age_days * DAY_S)

    (found,) = results_of(path)

    assert found.status == status
    assert found.where == str(path)


def test_each_key_of_a_rotation_has_its_state(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    create_keys(path, algorithm="EdDSA", now=NOW - DAY_S)
    rotate_keys(path, overlap_s=7200, now=NOW)

    found = results_of(path)

    assert [("current" in one.what, "next" in one.what) for one in found] == [(True, False), (False, True)]
    assert {one.status for one in found} == {"ok"}


def test_a_last_key_that_retires_soon_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    create_keys(path, algorithm="EdDSA", now=NOW - DAY_S)
    rotate_keys(path, overlap_s=7200, now=NOW - 3600)
    # The next key is taken away by hand, and with it the successor of the first.
    kid = results_of(path)[1].what.partition(" ")[0]
    text = path.read_text()
    start = text.index(f'"kid": "{kid}"')
    opening, closing = text.rindex(",\n    {", 0, start), text.index("}", start) + 1
    path.write_text(text[:opening] + text[closing:])

    (found,) = results_of(path)

    assert found.status == "failure"
    assert "no other key follows" in found.what
    assert "keys rotate" in found.next


def test_without_a_key_pair_there_is_nothing_to_ask() -> None:
    found = list(examine_keys(parse_settings({"token": {"strategy": "exchange"}}, origin="test")))

    assert [one.status for one in found] == ["not asked"]
