"""Every room is small and says what it is for; what may import what is held by import-linter (setup.cfg)."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = sorted(
    path.parent
    for root in (ROOT / "compat_auth", ROOT / "backends" / "compat_auth_backends")
    for path in root.rglob("__init__.py")
)
MOST = 12
# The public vocabulary is flat; one file for each migration is added for ever.
UNBOUNDED = {ROOT / "compat_auth", ROOT / "compat_auth" / "store" / "migrations" / "versions"}


def test_a_room_has_twelve_modules_at_most() -> None:
    too_full = {
        str(room.relative_to(ROOT)): count
        for room in ROOMS
        if room not in UNBOUNDED
        and (count := len([path for path in room.glob("*.py") if path.stem != "__init__"])) > MOST
    }

    assert too_full == {}


def test_a_room_says_what_it_is_for_and_what_may_be_imported_there() -> None:
    silent = [
        str(room.relative_to(ROOT))
        for room in ROOMS
        if room.name not in ("compat_auth", "migrations", "versions")
        and "\nImports: " not in (ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8"))) or "")
    ]

    assert silent == []


def test_every_import_is_absolute() -> None:
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for room in ROOMS
        for path in room.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert relative == []
