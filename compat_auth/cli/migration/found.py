"""A setting of the old world, and its fate here."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Fate(StrEnum):
    """The fate of an old setting."""

    TAKEN = "taken over"
    CHANGED = "changed"
    UNNEEDED = "not needed"
    IMPOSSIBLE = "cannot be taken over"


@dataclass(frozen=True, slots=True)
class Found:
    """A setting with a value.

    Attributes:
        name: As the old world has it, such as `[kerberos] keytab` or `AUTH_TYPE`.
        place: The file or variable that sets it.
        value: Its value; never shown.
    """

    name: str
    place: str
    value: object = field(repr=False)

    @property
    def text(self) -> str:
        """The value as a text without blanks around it."""
        return str(self.value).strip()


@dataclass(frozen=True, slots=True)
class Treatment:
    """The fate of one setting.

    Attributes:
        found: The setting.
        fate: Its fate.
        why: In a sentence; the next step where a person must act.
        must_act: Whether a person must act.
    """

    found: Found
    fate: Fate
    why: str
    must_act: bool = False

    @property
    def line(self) -> str:
        """One line for a person, without the value."""
        return f"{self.fate}: {self.found.name} ({self.found.place}): {self.why}"
