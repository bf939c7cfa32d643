"""The files of the corpora have the shape that their schema says, and what is generated is what stands there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator, ValidationError

from compat_auth.errors import KeyFileError
from compat_auth.tokens.jose.jwk import PublicAlgorithm, verifying_key
from corpora import make_jwt
from corpora.cases import FOLDER, NAMES, cases, load, to_bytes, values_for

SCHEMA = json.loads((FOLDER / "schema.json").read_text(encoding="ascii"))
ALL_ALGORITHMS = get_args(PublicAlgorithm)


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", NAMES)
def test_a_corpus_has_the_documented_shape(name: str) -> None:
    Draft202012Validator(SCHEMA).validate(load(name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"version": 2}, id="version"),
        pytest.param({"cases": []}, id="no-cases"),
        pytest.param({"cases": [{"id": "a"}]}, id="case-without-members"),
        pytest.param({"corpus": "other"}, id="unknown-corpus"),
        pytest.param({"note": "a"}, id="unknown-member"),
    ],
)
def test_another_shape_is_refused(name: str, change: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate({**load(name), **change})


@pytest.mark.parametrize("name", NAMES)
def test_each_case_has_an_id_of_its_own_and_a_reason(name: str) -> None:
    ids = [case["id"] for case in cases(name)]

    assert len(ids) == len(set(ids))
    assert all(case["why"] for case in cases(name))


def test_every_file_of_the_folder_is_named() -> None:
    files = {path.stem for path in FOLDER.glob("*.json")}

    assert files == {*NAMES, "schema", "keys"}


def test_the_readme_names_every_file() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert [name for name in NAMES if f"`{name}.json`" not in text] == []


@pytest.mark.parametrize("name", ["jwt", "jwk"])
def test_the_generator_writes_what_stands_there(name: str) -> None:
    written = make_jwt.text_of(make_jwt.documents()[name])

    assert written == (FOLDER / f"{name}.json").read_text(encoding="ascii")


def test_a_length_counts_what_stands_behind_the_head() -> None:
    values = values_for("gateway", "Basic a", "Basic b")

    raw = to_bytes(["POST / HTTP/1.1\r\n", "Content-Length: {length}\r\n\r\n", {"repeat": "{n},", "times": 3}], values)

    assert raw == b"POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\n0,1,2,"


@pytest.mark.parametrize("case", cases("jwk"), ids=lambda case: case["id"])
def test_a_key_is_used_only_for_what_it_is_for(case: Mapping[str, Any]) -> None:
    if case["usable"]:
        assert verifying_key(case["jwk"], ALL_ALGORITHMS).kid == "a"
    else:
        with pytest.raises(KeyFileError):
            verifying_key(case["jwk"], ALL_ALGORITHMS)
