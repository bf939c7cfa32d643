"""`--version` names the build where it is known, and does not guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_auth.cli.manual.build import revision

HASH = "4350b68a44a3f7c0b1d2e3f405162738495a6b7c"


def test_a_release_knows_the_revision_that_git_archive_wrote(tmp_path: Path) -> None:
    file = tmp_path / "revision.txt"
    file.write_text(f"{HASH}\n")

    assert revision(file, tmp_path) == HASH[:12]


@pytest.mark.parametrize("content", ["$Format:%H$\n", "", "main\n", HASH.upper(), "\u00e9"], ids=range(5))
def test_a_file_that_holds_no_revision_counts_as_none(content: str, tmp_path: Path) -> None:
    file = tmp_path / "revision.txt"
    file.write_text(content, encoding="utf-8")

    assert revision(file, tmp_path) == ""


def test_a_missing_file_counts_as_none(tmp_path: Path) -> None:
    assert revision(tmp_path / "revision.txt", tmp_path) == ""
