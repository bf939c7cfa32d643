"""The requirements of a view or path on an identity: `role:Admin`, `group:ops`, `mfa`. No I/O, no Flask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from compat_auth.errors import ConfigError
from compat_auth.identity import Identity

__all__ = ["Requirements"]

# A requirement of each kind: (identity, value) -> met.
_KINDS: dict[str, Callable[[Identity, str], bool]] = {
    "role": lambda identity, value: value in identity.roles,
    "group": lambda identity, value: value in identity.groups,
    "backend": lambda identity, value: value == identity.backend,
    "directory": lambda identity, value: value == identity.directory,
    "user": lambda identity, value: value == identity.username,
    # A word that the credential names: one that names none is not thereby good for all of them.
    "scope": lambda identity, value: value in identity.app_scopes,
}
_FLAGS: dict[str, Callable[[Identity], bool]] = {
    "mfa": lambda identity: identity.mfa,
    "role_account": lambda identity: identity.role_account,
    # For lists such as asfquart's, where it stands for "logged in": a view that asks for it has a caller already.
    "known": lambda _: True,
}


@dataclass(frozen=True, slots=True)
class Requirements:
    """The conditions that an identity must meet.

    Attributes:
        all_of: Every one of these.
        any_of: At least one of these, unless it is empty.
    """

    all_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in (*self.all_of, *self.any_of):
            _check_form(text)

    def met_by(self, identity: Identity) -> bool:
        """Return whether the identity may go on."""
        if not all(_is_met(text, identity) for text in self.all_of):
            return False
        return not self.any_of or any(_is_met(text, identity) for text in self.any_of)


NOTHING_REQUIRED = Requirements()


def requirements_of(all_of: str | Iterable[str] = (), any_of: str | Iterable[str] = ()) -> Requirements:
    """Return requirements; a single text is a list of one.

    Raises:
        ConfigError: One is unknown, or not a text.
    """
    return Requirements(listed(all_of), listed(any_of))


def listed(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return texts as a tuple; a single text is one of one."""
    return (given,) if isinstance(given, str) else tuple(given)


def _check_form(text: object) -> None:
    if not isinstance(text, str):
        raise ConfigError(f"requirement {text!r}: not a text, such as 'role:Admin'")
    kind, colon, value = text.partition(":")
    if text in _FLAGS or (kind in _KINDS and colon and value):
        return
    known = ", ".join((*(f"{kind}:NAME" for kind in _KINDS), *_FLAGS))
    raise ConfigError(f"requirement {text!r}: unknown; write one of {known}")


def _is_met(text: str, identity: Identity) -> bool:
    if text in _FLAGS:
        return _FLAGS[text](identity)
    kind, _, value = text.partition(":")
    return _KINDS[kind](identity, value)
