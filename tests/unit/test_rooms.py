"""Every room is small and says what it is for; what may import what is held by import-linter (setup.cfg)."""

from __future__ import annotations

import ast
import configparser
import re
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

CORE = ROOT / "compat_auth"


def read_layers() -> list[set[str]]:
    """Return the names directly below `compat_auth`, by layer, the highest first."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    lines = setup["importlinter:contract:layers"]["layers"].split("\n")
    return [set(re.split(r"\s*[:|]\s*", line)) for line in lines if line]


LAYERS = read_layers()
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
VOCABULARY = next(names for names in LAYERS if "identity" in names)
TOOLS = next(names for names in LAYERS if "crypto" in names)


def imported_in(room: Path) -> set[str]:
    """Return what the modules of a room import when they run: names directly below `compat_auth`."""
    found: set[str] = set()
    for tree in (ast.parse(path.read_text("utf-8")) for path in room.glob("*.py")):
        for_checkers = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in for_checkers or not isinstance(node, ast.ImportFrom | ast.Import):
                continue
            if isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            else:
                names = [f"{node.module}.{one.name}" for one in node.names]
            found |= {name.split(".")[1] for name in names if name.startswith("compat_auth.")}
    return found & set(LEVELS)


def allowed_in(room: Path) -> set[str]:
    """Return what a room's line `Imports:` allows; `compat_auth/__init__.py` defines its words."""
    own = (*room.relative_to(CORE).parts, "compat_auth")[0]
    described = ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8"))) or ""
    stated = re.search(r"^Imports: (.*?)(?:; |\.$)", described, re.DOTALL | re.MULTILINE)
    if stated is None:
        return set(LEVELS)
    line = " ".join(stated[1].split())
    named = {name.removeprefix("compat_auth.").split(".")[0] for name in re.findall("`([^`]+)`", line)} & set(LEVELS)
    allowed = named | {own, "errors"}
    if "everything" in line and not named:
        allowed |= set(LEVELS)
    if "below" in line:
        highest = min((LEVELS[name] for name in named), default=LEVELS[own])
        allowed |= {name for name, level in LEVELS.items() if level > highest}
    if "vocabulary" in line:
        allowed |= VOCABULARY
    if "tools" in line:
        allowed |= TOOLS
    for other in re.findall("(?:what|that) `([^`]+)` may import", line):
        allowed |= allowed_in(CORE / other)
    return allowed


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


def test_a_room_imports_nothing_that_its_own_line_leaves_out() -> None:
    left_out = {
        str(room.relative_to(ROOT)): sorted(found)
        for room in ROOMS
        if room.is_relative_to(CORE) and (found := imported_in(room) - allowed_in(room))
    }

    assert left_out == {}


def test_every_import_is_absolute() -> None:
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for room in ROOMS
        for path in room.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert relative == []
