"""A setting of the old world, all of them, and the fate of each here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from compat_auth.cli.migration.variables import as_airflow_expands, problem_in


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
        problem: Why the value cannot be known; empty if it is.
    """

    name: str
    place: str
    value: object = field(repr=False)
    problem: str = ""

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


INDIRECT = {"_cmd": "a command", "_secret": "a secret back end"}
"""Ends of the names of options that say where the value comes from."""
UNKNOWN = "(unknown)"
"""The value of a setting with a problem."""
_VARIABLE = re.compile(r"AIRFLOW__([A-Z0-9_]+?)__([A-Z0-9_]+)")
_INTERPOLATED = re.compile(r"(?<!%)(?:%%)*%\(\w+\)s")
Name = tuple[str, str]


@dataclass(slots=True)
class OldWorld:
    """All that is configured.

    Attributes:
        files: Options in airflow.cfg, by section and key.
        variables: Options that a variable sets.
        options: Both, as Airflow reads them: a variable before the file; filled by `settle`.
        overshadowed: Options in airflow.cfg that a variable sets, too.
        unread: Settings that nobody can read from here.
        python: The text of webserver_config.py, and its name; empty without one.
        environ: Variables that values and webserver_config.py may name.
        added: Count of the settings that were added.
    """

    files: dict[Name, Found] = field(default_factory=dict[Name, Found])
    variables: dict[Name, Found] = field(default_factory=dict[Name, Found])
    options: dict[Name, Found] = field(default_factory=dict[Name, Found])
    overshadowed: list[Found] = field(default_factory=list[Found])
    unread: list[Found] = field(default_factory=list[Found])
    python: tuple[str, str] = field(default=("", ""), repr=False)
    environ: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    added: int = 0

    def add(self, section: str, key: str, place: str, value: object, problem: str = "") -> None:
        """Add an option of airflow.cfg; what is added later counts."""
        self.added += 1
        name = (section.lower(), key.lower())
        if isinstance(value, str):
            if _INTERPOLATED.search(value):
                problem = problem or "it takes the value of another option"
            # Airflow's parser interpolates, so a percent sign is written twice.
            value = value.replace("%%", "%")
        self.files[name] = Found(f"[{name[0]}] {name[1]}", place, UNKNOWN if problem else value, problem)

    def add_variable(self, name: str, value: str, place: str, problem: str = "") -> None:
        """Add a variable; those of Airflow's options count more than its file."""
        self.added += 1
        if problem:
            self.environ.pop(name, None)
        else:
            self.environ[name] = value
        match = _VARIABLE.fullmatch(name)
        if match:
            section, key = match[1].lower(), match[2].lower()
            value = UNKNOWN if problem else value
            self.variables[section, key] = Found(f"[{section}] {key}", f"${name} in {place}", value, problem)

    def add_unread(self, name: str, place: str, problem: str) -> None:
        """Add a setting that a person has to look at."""
        self.added += 1
        self.unread.append(Found(name, place, UNKNOWN, problem))

    def find_all(self, names: Iterable[Name]) -> list[Found]:
        """Return these options in Airflow's order: all variables, then the file, the current name first in both."""
        listed = list(names)
        return [where[name] for where in (self.variables, self.files) for name in listed if name in where]

    def settle(self) -> None:
        """Expand variables in all values, now that all are known, and let variables count more than the file."""
        keytab = self.environ.get("KRB5_KTNAME", "").removeprefix("FILE:")
        if keytab:
            # Airflow 2's Kerberos backend asked for it first.
            self.variables["kerberos", "keytab"] = Found("[kerberos] keytab", "$KRB5_KTNAME", keytab)
        for where in (self.files, self.variables):
            for name, found in where.items():
                where[name] = self._expanded(found)
        self.overshadowed = [found for name, found in self.files.items() if name in self.variables]
        self.options = {**self.files, **self.variables}

    def _expanded(self, found: Found) -> Found:
        if found.problem or not isinstance(found.value, str):
            return found
        text = as_airflow_expands(found.value, self.environ)
        problem = problem_in(text)
        return Found(found.name, found.place, UNKNOWN if problem else text, problem)
