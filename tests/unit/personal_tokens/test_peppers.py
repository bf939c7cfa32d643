"""The keys of the digests of personal tokens."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compat_auth.config import Settings, parse_settings
from compat_auth.errors import ConfigError, KeyFileError
from compat_auth.personal_tokens.peppers import Peppers, load_peppers

PEPPER = "a-pepper-of-more-than-32-bytes-0123456789"
OLDER = "an-older-pepper-of-more-than-32-bytes-0123"


def settings(tmp_path: Path, **section: object) -> Settings:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    return parse_settings({"database_url": url, "personal_tokens": section}, origin="test")


def test_a_file_is_made_where_no_pepper_is_set_and_kept(tmp_path: Path) -> None:
    first = load_peppers(settings(tmp_path))

    again = load_peppers(settings(tmp_path))

    path = tmp_path / "store.db.pepper"
    assert first.newest == again.newest
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["store.db.pepper"]


def test_all_who_start_at_once_find_the_same_pepper(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: load_peppers(settings(tmp_path)).newest, range(16)))

    assert len(found) == 1


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    load_peppers(settings(tmp_path))
    (tmp_path / "store.db.pepper").chmod(0o644)

    with pytest.raises(KeyFileError, match="chmod 600"):
        load_peppers(settings(tmp_path))


def test_a_file_without_a_pepper_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db.pepper"
    path.touch(0o600)

    with pytest.raises(KeyFileError, match="no pepper in it"):
        load_peppers(settings(tmp_path))


def test_a_pipe_in_its_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "store.db.pepper", 0o600)

    with pytest.raises(KeyFileError, match="not a regular file"):
        load_peppers(settings(tmp_path))


def test_a_short_pepper_is_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 32") as caught:
        load_peppers(settings(tmp_path, pepper="too-short"))

    assert "too-short" not in str(caught.value)


def test_machines_that_share_a_database_must_be_told_their_pepper() -> None:
    shared = parse_settings({"database_url": "postgresql+psycopg://u:secret@db/x"}, origin="test")

    with pytest.raises(ConfigError, match=r"personal_tokens\.pepper: not set") as caught:
        load_peppers(shared)

    assert "secret" not in str(caught.value)


def test_the_newest_pepper_digests_and_the_older_ones_are_known(tmp_path: Path) -> None:
    before = load_peppers(settings(tmp_path, pepper=OLDER))
    rotated = load_peppers(settings(tmp_path, peppers=[PEPPER, OLDER]))

    assert rotated.newest != before.newest
    assert rotated.digest(before.newest, "text") == before.digest(before.newest, "text")
    assert rotated.digest(rotated.newest, "text") != before.digest(before.newest, "text")


def test_a_pepper_that_is_not_here_digests_nothing_twice() -> None:
    peppers = Peppers((PEPPER.encode(),))

    assert peppers.digest("unknown", "text") != peppers.digest("unknown", "text")
