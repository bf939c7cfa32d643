"""The page about the architecture and the contracts say the same, and the files that it names are there."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
_LAYERS = re.compile(r"^```text\n(?P<layers>(?:.*\n)*?)```$", re.MULTILINE)
_PATH = re.compile(r"`((?:compat_auth|backends|tests)/[\w./]+|setup\.cfg)`")


def test_the_page_draws_the_layers_that_import_linter_holds() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / "setup.cfg", encoding="utf-8")
    held = contracts["importlinter:contract:layers"]["layers"].split("\n")

    drawn = _LAYERS.search(PAGE)

    assert drawn is not None
    assert drawn["layers"].splitlines() == [line.strip() for line in held if line.strip()]


def test_every_file_that_the_page_names_is_there() -> None:
    named = _PATH.findall(PAGE)

    missing = [path for path in named if not (ROOT / path).exists()]

    assert len(named) > 10
    assert missing == []
