"""Collects what a site's old settings become: our sections, and the fate of each setting."""

from __future__ import annotations

from dataclasses import dataclass, field

from compat_auth.cli.migration.found import Fate, Found, Treatment


@dataclass(frozen=True, slots=True)
class Value:
    """One of our settings, with the reason for it.

    Attributes:
        value: Text, number, truth, list, or table.
        comment: One line for the file.
    """

    value: object = field(repr=False)
    comment: str


@dataclass(slots=True)
class Translation:
    """Sections of our configuration, and what became of each old setting.

    Attributes:
        sections: By section ("" outside any) and key.
        treatments: In the order in which the settings were looked at.
    """

    sections: dict[str, dict[str, Value]] = field(default_factory=dict[str, dict[str, Value]])
    treatments: list[Treatment] = field(default_factory=list[Treatment])

    def put(self, name: str, value: object, comment: str) -> None:
        """Set one of our settings, by its dotted name."""
        section, _, key = name.rpartition(".")
        self.sections.setdefault(section, {})[key] = Value(value, comment)

    def get(self, name: str) -> object:
        """Return one of our settings; None where it is not set."""
        section, _, key = name.rpartition(".")
        found = self.sections.get(section, {}).get(key)
        return None if found is None else found.value

    def take(self, found: Found, name: str, value: object) -> None:
        """Take a setting over as it is; give it up where its value cannot be known."""
        if found.problem:
            self.give_up(found, f"{found.problem}; set {name} yourself")
            return
        self.put(name, value, f"{found.name} of {found.place}")
        self.treatments.append(Treatment(found, Fate.TAKEN, f"{name} here"))

    def change(self, found: Found, name: str, value: object, why: str, *, must_act: bool = False) -> None:
        """Take a setting over with another value or another meaning; give it up where its value cannot be known."""
        if found.problem:
            self.give_up(found, f"{found.problem}; set {name} yourself")
            return
        self.put(name, value, f"{found.name} of {found.place}: {why}")
        self.treatments.append(Treatment(found, Fate.CHANGED, f"{name} here: {why}", must_act))

    def drop(self, found: Found, why: str) -> None:
        """Leave a setting out that nobody needs."""
        self.treatments.append(Treatment(found, Fate.UNNEEDED, why))

    def give_up(self, found: Found, why: str) -> None:
        """Leave a setting out that somebody has to replace."""
        self.treatments.append(Treatment(found, Fate.IMPOSSIBLE, why, must_act=True))

    @property
    def must_act(self) -> bool:
        """Whether a person must do something."""
        return any(treatment.must_act for treatment in self.treatments)
