"""The directories that are installed, by name: the entry-point group `compat_auth.directories`."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, TypeVar, cast

from compat_auth.authn.extras import remedy_for_missing
from compat_auth.authn.shared import one_per_settings
from compat_auth.config import Settings
from compat_auth.directory import Directory, DirectoryFactory, HashDirectory, PasswordDirectory, UserDirectory
from compat_auth.errors import BackendNotFound, ConfigError

GROUP = "compat_auth.directories"

Found_co = TypeVar("Found_co", covariant=True)


class Factory(Protocol[Found_co]):
    """Makes a directory from the settings."""

    def from_settings(self, settings: Settings) -> Found_co:
        """Return the directory."""
        ...


def shared_directory(factory: Factory[Found_co], settings: Settings) -> Found_co:
    """Return the one directory that all users of the same settings share.

    A directory has a pool of connections: one for each of its users would be many times what the operator allows.

    Raises:
        ConfigError: It is misconfigured; nothing is kept then.
    """
    return one_per_settings(settings, factory, lambda: factory.from_settings(settings))


def load_password_directories(names: list[str], settings: Settings) -> tuple[Directory, ...]:
    """Return the directories of `[basic_auth] directories`, in that order.

    Raises:
        BackendNotFound: No directory of that name is installed.
        ConfigError: See `load_directories`; or one cannot check passwords.
    """
    found: list[Directory] = []
    for directory in load_directories(names, settings):
        if not isinstance(directory, (HashDirectory, PasswordDirectory)):
            raise ConfigError(
                f"basic_auth.directories: {directory.name!r} only looks up names; it belongs in lookup.directories"
            )
        found.append(directory)
    return tuple(found)


def load_user_directories(names: list[str], settings: Settings) -> tuple[UserDirectory, ...]:
    """Return the directories of `[lookup] directories`, in that order.

    Raises:
        BackendNotFound: No directory of that name is installed.
        ConfigError: See `load_directories`; or one cannot look up names.
    """
    found: list[UserDirectory] = []
    for directory in load_directories(names, settings, key="lookup.directories"):
        if not isinstance(directory, UserDirectory):
            raise ConfigError(f"lookup.directories: {directory.name!r} only checks passwords; it cannot look up names")
        found.append(directory)
    return tuple(found)


def load_directories(
    names: list[str], settings: Settings, *, key: str = "basic_auth.directories"
) -> tuple[Directory | UserDirectory, ...]:
    """Return the directories of those names, in that order.

    Args:
        names: As configured.
        settings: Where each directory finds its own section.
        key: The setting that names them, for messages.

    Raises:
        BackendNotFound: No directory of that name is installed.
        ConfigError: None is named, one is named twice, or one cannot be imported or set up.
    """
    if not names:
        raise ConfigError(f"{key}: empty; name at least one of: {', '.join(installed_directories())}")
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ConfigError(f"{key}[{position}]: {name!r} is there twice; delete one")
    return tuple(_load(name, f"{key}[{position}]", settings) for position, name in enumerate(names))


def installed_directories() -> tuple[str, ...]:
    """Return the names that can be configured, sorted."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def _load(name: str, where: str, settings: Settings) -> Directory | UserDirectory:
    found = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if not found:
        near = difflib.get_close_matches(name, installed_directories(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise BackendNotFound(
            f"{where}: no directory named {name!r}; {hint}installed: {', '.join(installed_directories())}"
        )
    if len(found) > 1:
        # Which of them came first in sys.path must not decide who checks passwords.
        raise ConfigError(f"{where}: {name!r} is provided twice ({', '.join(sorted(found))}); uninstall one")
    directory = shared_directory(_import(next(iter(found.values())), where), settings)
    if not isinstance(cast("object", directory), (UserDirectory, PasswordDirectory)):
        raise ConfigError(f"{where}: {name!r} is neither a user nor a password directory; see compat_auth.directory")
    return directory


def _import(entry: EntryPoint, where: str) -> DirectoryFactory:
    try:
        return cast("DirectoryFactory", entry.load())
    except (ImportError, AttributeError) as exc:
        missing = getattr(exc, "name", None) or entry.value
        raise ConfigError(
            f"{where}: {entry.name!r} cannot be imported: {missing} is missing; {remedy_for_missing(entry)}"
        ) from exc
