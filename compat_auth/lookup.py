"""From a vouched-for name to the user that the upstream needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from compat_auth.directory import HashDirectory
from compat_auth.errors import NoSuchUser
from compat_auth.identity import Identity

Resolve = Callable[[Identity], Identity]


def keep_identity(identity: Identity) -> Identity:
    """Return the identity as it is: the upstream needs nothing more."""
    return identity


def resolve_in(directory: HashDirectory) -> Resolve:
    """Return a function that completes an identity with the upstream's own key and roles for the user.

    A user whom the upstream does not know, or has disabled, is refused whatever backend vouches
    (rule 4 of the contract).
    """

    def resolve(identity: Identity) -> Identity:
        if identity.upstream_id:
            return identity
        user = directory.find(identity.username)
        if user is None or not user.active:
            state = "unknown to" if user is None else "disabled in"
            raise NoSuchUser(f"{identity.username!r} (vouched for by {identity.backend}) is {state} {directory.name}")
        return replace(
            identity, username=user.username, upstream_id=user.upstream_id, email=user.email, roles=user.roles
        )

    return resolve
