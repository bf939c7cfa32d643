"""The parts of the reference that are made from the code, as MyST Markdown. No Sphinx: tests read it, too."""

import re
from pathlib import Path

from compat_auth import errors
from compat_auth.airflow.v1.catalog import OPERATIONS
from compat_auth.cli.settings.described import Described, described

# A line of the drawn tree: the name, then what is said, then (after two blanks) status and exit code.
_BRANCH = re.compile(r"[├└]── (\w+)(?: {2,}(\S.*?)(?= {2,}|$))?", re.MULTILINE)
_ACTORS = {
    "an operator": "an operator",
    "the caller": "the caller",
    "whoever runs a client": "the user of the client",
    "the user of a client": "the user of the client",
    "nobody": "nobody",
    "nothing helps": "nobody",
}


def settings_text() -> str:
    """Return every setting: type, default, variable, description; one heading for each section."""
    parts = ["## Outside any section\n"]
    for group in described():
        if group.name:
            level = "###" if "." in group.name else "##"
            parts.append(f"{level} `{group.heading}`\n\n{group.description}\n")
        parts += [_setting(setting) for setting in group.settings]
    return "\n".join(parts)


def _setting(setting: Described) -> str:
    return (
        f"```{{confval}} {setting.name}\n:type: {setting.kind}\n:default: `{setting.default or 'none; must be set'}`\n\n"
        f"{setting.description}\n\n{setting.environment}\n```\n"
    )


def errors_text() -> str:
    """Return a table of every error: who acts, HTTP status, exit code, and when to try again."""
    lines = [
        "| Error | Who acts | HTTP status | Exit code | Retry-After (s) |",
        "|---|---|---|---|---|",
    ]
    for error in error_classes():
        retry = "" if error.retry_after_s is None else str(error.retry_after_s)
        name = f"{{py:exc}}`~compat_auth.errors.{error.__name__}`"
        cells = (name, who_acts(errors.__doc__ or "", error), error.status, error.exit_code, retry)
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def who_acts(tree: str, error: type[errors.CompatAuthError]) -> str:
    """Return who acts on an error as the drawn tree says it; "..." and nothing mean: as in the line it hangs on."""
    said = dict(_BRANCH.findall(tree)).get(error.__name__, "").strip()
    if said and not said.startswith("..."):
        return next((actor for words, actor in _ACTORS.items() if said.startswith(words)), said)
    parent = error.__base__
    return who_acts(tree, parent) if parent is not None and issubclass(parent, errors.CompatAuthError) else ""


def error_classes() -> list[type[errors.CompatAuthError]]:
    """Return every error of ours, each below what it derives from."""
    public = [getattr(errors, name) for name in errors.__all__]
    found = [errors.CompatAuthError]
    for error in found:
        # The list grows while it is walked: children stand right behind their parent.
        place = found.index(error) + 1
        found[place:place] = error.__subclasses__()
    return [error for error in found if error in public]


def airflow_v1_text() -> str:
    """Return a table of the operations of `/api/v1`, and what each is made of."""
    lines = ["| Operation | `/api/v1` | Airflow 3 |", "|---|---|---|"]
    for operation in OPERATIONS:
        more = "" if operation.code is None else ", and what else it takes"
        who = " (FAB only)" if operation.fab else " (everybody)" if operation.public else ""
        lines.append(f"| `{operation.name}`{who} | `{operation.method} {operation.path}` | `{operation.to}`{more} |")
    return "\n".join(lines)


PARTS = {"settings": settings_text, "errors": errors_text, "airflow-v1": airflow_v1_text}


def fill_in(source: str) -> str:
    """Return a page's Markdown with each `<!-- generated: NAME -->` replaced by what the code says."""
    for name, make in PARTS.items():
        marker = f"<!-- generated: {name} -->"
        if marker in source:
            source = source.replace(marker, make())
    return source


def read_page(path: Path) -> str:
    """Return a page's Markdown as Sphinx reads it."""
    return fill_in(path.read_text(encoding="utf-8"))
