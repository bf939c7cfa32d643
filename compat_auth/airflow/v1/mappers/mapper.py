"""Maps an object of `/api/v2` to one of `/api/v1`, declared field by field. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from compat_auth.airflow.v1.messages import Json

Derive = Callable[[Json], Any]


@dataclass(frozen=True)
class Mapper:
    """One kind of object. The result omits every field that is not declared: later versions may add fields.

    Attributes:
        name: 2.x's name of the object.
        same: Fields of the same name and value.
        dates: Fields of the same name that hold dates.
        renamed: Field of 2.x to field of 3.x.
        renamed_dates: The same for dates.
        constant: Field of 2.x to its value.
        derived: Field of 2.x to the function that derives it from the object.
        dropped: Fields of 3.x that 2.x does not have: listed so that a test can tell new fields from forgotten ones.
        used: Fields of 3.x that only `derived` reads.
    """

    name: str = ""
    same: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    renamed_dates: Mapping[str, str] = field(default_factory=dict[str, str])
    constant: Mapping[str, Any] = field(default_factory=dict[str, Any])
    derived: Mapping[str, Derive] = field(default_factory=dict[str, Derive])
    dropped: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()

    def __call__(self, found: Json) -> Json:
        """Return the object in 2.x's format."""
        get = found.get
        made = {name: get(name) for name in self.same}
        for name in self.dates:
            value = get(name)
            made[name] = value[:-1] + "+00:00" if value and value[-1] == "Z" else value
        for name, source in self.renamed.items():
            made[name] = get(source)
        for name, source in self.renamed_dates.items():
            value = get(source)
            made[name] = value[:-1] + "+00:00" if value and value[-1] == "Z" else value
        made.update(self.constant)
        for name, derive in self.derived.items():
            made[name] = derive(found)
        return made

    @property
    def fields(self) -> frozenset[str]:
        """The fields of the result."""
        return frozenset((*self.same, *self.dates, *self.renamed, *self.renamed_dates, *self.constant, *self.derived))

    @property
    def known(self) -> frozenset[str]:
        """The declared fields of 3.x."""
        sources = (*self.same, *self.dates, *self.renamed.values(), *self.renamed_dates.values())
        return frozenset(sources) | self.dropped | self.used


def only(fields: Collection[str] | None, made: Json) -> Json:
    """Return an object with only some of its fields; None for all of them."""
    return made if fields is None else {name: made[name] for name in fields if name in made}


def text_or_empty(name: str) -> Derive:
    """Return a function that reads a text; a missing one is empty."""
    return lambda found: found.get(name) or ""


def object_or_empty(name: str) -> Derive:
    """Return a function that reads an object; a missing one is empty."""
    return lambda found: found.get(name) or {}


def each(name: str, mapper: Mapper) -> Derive:
    """Return a function that reads a list of objects; a missing one is empty."""
    return lambda found: [mapper(part) for part in found.get(name) or ()]


def maybe(name: str, mapper: Mapper) -> Derive:
    """Return a function that reads an optional object."""
    return lambda found: mapper(found[name]) if found.get(name) is not None else None
