"""The roles that the upstream gives to a user, where the directory that names the user may say less.

A rule of `[[do_as]]` can cover the users who have no other roles than some, and the upstream decides with its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from compat_auth.authn.users.directories import load_user_directories
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import Settings
from compat_auth.directory import UserDirectory
from compat_auth.errors import NotPermitted
from compat_auth.identity import Identity
from compat_auth.tokens.claims import ClaimProfile

_IN_PROCESS, _MANAGER = "in_process", "auth_manager"
_ADMIN = "ADMIN"


def more_roles_of(settings: Settings, lookup: UserLookup) -> Callable[[Identity], Collection[str]]:
    """Return a function that returns the roles of a completed user besides those in the identity.

    Args:
        settings: With the upstream's profile.
        lookup: Has completed the user.

    Raises:
        ConfigError: The profile or a directory is misconfigured.
    """
    if not settings.do_as:
        return lambda _user: ()
    if settings.token.strategy == _IN_PROCESS:
        known = [directory.name for directory in lookup.directories]
        own = () if _MANAGER in known else load_user_directories([_MANAGER], settings)
        return lambda user: _roles_in((*lookup.directories, *own), lookup, user)
    if settings.upstream.profile == "airflow-fab":
        # Airflow's own database decides there, and the directory before it may give roles of its own.
        return lambda user: _roles_in(lookup.directories, lookup, user)
    if settings.upstream.profile == "airflow-simple":
        profile = ClaimProfile.from_settings(settings)
        return lambda user: _administrator(profile, user)
    return lambda _user: ()


def _roles_in(directories: Collection[UserDirectory], lookup: UserLookup, user: Identity) -> Collection[str]:
    if len(directories) == 1:
        return ()  # the identity has them
    found = (lookup.find(directory, user.username) for directory in directories)
    return {role for known in found if known is not None for role in known.roles}


def _administrator(profile: ClaimProfile, user: Identity) -> Collection[str]:
    """Return the role of an administrator if `[upstream] roles` gives it to a user whose directory names no such role."""
    try:
        role = profile.simple_role(user)
    except NotPermitted:
        return ()  # nor is there a token
    return (role,) if role == _ADMIN else ()
