"""A place in a script that has to change."""

from __future__ import annotations

from dataclasses import dataclass

VARIABLE = "AIRFLOW_TOKEN"
NEEDS_TOKEN = f"needs a personal token in the variable {VARIABLE}"


@dataclass(frozen=True, slots=True)
class Change:
    """One place, and the text that replaces it, or the reason why a person must look.

    Attributes:
        begin: Where it begins in the text.
        end: Where it ends.
        text: The text in its place; None if a person must change it.
        note: Why a person must, or what to look at beside the patch; empty for neither.
    """

    begin: int
    end: int
    text: str | None
    note: str = ""


def apply(text: str, changes: list[Change]) -> str:
    """Return a text with all changes that have a text; the first of two that overlap counts."""
    parts: list[str] = []
    position = 0
    for change in sorted(changes, key=lambda one: (one.begin, one.end)):
        if change.text is not None and change.begin >= position:
            parts += [text[position : change.begin], change.text]
            position = change.end
    return "".join([*parts, text[position:]])
