"""Changes of an htpasswd file: locked, all or nothing, every other line unchanged.

The first change removes a byte order mark, which Apache would read as part of the first user's name.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from compat_auth.authn.passwords.hashes import find_fault, scheme_of
from compat_auth.errors import ConfigError

DISABLED = "!"  # before the hash, as `passwd -l` does
PRIVATE_MODE = 0o600
# Bytes that are not UTF-8, in a line that we do not change, survive the round trip.
_LOSSLESS = "surrogateescape"


@dataclass(frozen=True, slots=True)
class Entry:
    """One user in the file.

    Attributes:
        name: As written; case-sensitive.
        state: "active", "disabled", or "unusable" for an unsupported hash.
        scheme: Scheme of the hash, such as "argon2"; "" for an unsupported one.
    """

    name: str
    state: str
    scheme: str


def is_valid_name(name: str) -> bool:
    """Return whether a user of that name can be in the file and use HTTP Basic (RFC 7617 section 2)."""
    return bool(name) and name.isprintable() and ":" not in name and name.strip() == name and not name.startswith("#")


def is_comment(line: bytes) -> bool:
    """Return whether a line is a comment; leading blanks do not count, as in Apache."""
    return line.lstrip(b" \t").startswith(b"#")


def list_entries(path: Path) -> list[Entry]:
    """Return the users, in the order of the file.

    Raises:
        ConfigError: The file cannot be read.
    """
    with _explained(path):
        lines = _text(path).split("\n")
    return [_describe(line) for line in lines if _name(line) is not None]


def check_absent(path: Path, name: str) -> None:
    """Raise if the file has a user of that name; a missing file has none.

    Raises:
        ConfigError: The user exists, or the file cannot be read.
    """
    with _explained(path):
        if path.exists():
            _refuse_existing(path, _text(path).split("\n"), name)


def add_user(path: Path, name: str, stored: str) -> None:
    """Add a user at the end; creates the file with mode 0600 where there is none.

    Raises:
        ConfigError: The user exists, or the file cannot be written.
    """

    def add(lines: list[str]) -> list[str]:
        _refuse_existing(path, lines, name)
        return [*lines, f"{name}:{stored}"]

    _rewrite(path, add, create=True)


def set_hash(path: Path, name: str, stored: str) -> None:
    """Replace a user's hash; a disabled user stays disabled, and a repeated name is kept once.

    Raises:
        ConfigError: There is no such user, or the file cannot be written.
    """
    replaced = False

    def replace(line: str) -> str | None:
        nonlocal replaced
        if replaced:
            return None
        replaced = True
        _, old, rest = _parts(line)
        return ":".join([name, (DISABLED if old.startswith(DISABLED) else "") + stored, *rest])

    _rewrite(path, lambda lines: _change(path, lines, name, replace))


def disable_user(path: Path, name: str) -> None:
    """Make a user's hash match no password, reversibly by `enable_user`.

    Raises:
        ConfigError: There is no such user, or the file cannot be written.
    """

    def disable(line: str) -> str:
        _, old, rest = _parts(line)
        return line if old.startswith(DISABLED) else ":".join([name, DISABLED + old, *rest])

    _rewrite(path, lambda lines: _change(path, lines, name, disable))


def enable_user(path: Path, name: str) -> None:
    """Make a disabled user's old password valid again.

    Raises:
        ConfigError: There is no such user, or the file cannot be written.
    """

    def enable(line: str) -> str:
        _, old, rest = _parts(line)
        return ":".join([name, old.lstrip(DISABLED), *rest])

    _rewrite(path, lambda lines: _change(path, lines, name, enable))


def delete_user(path: Path, name: str) -> None:
    """Delete a user from the file.

    Raises:
        ConfigError: There is no such user, or the file cannot be written.
    """
    _rewrite(path, lambda lines: _change(path, lines, name, lambda _: None))


def _text(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigError(f"{path}: the file is UTF-16; save it as UTF-8")
    return raw.removeprefix(codecs.BOM_UTF8).decode(errors=_LOSSLESS)


def _refuse_existing(path: Path, lines: list[str], name: str) -> None:
    if any(_name(line) == name for line in lines):
        raise ConfigError(f"{path}: {name!r} exists; use `compat-auth users set-password {name} --file {path}`")


def _parts(line: str) -> tuple[str, str, list[str]]:
    name, old, *rest = line.split(":")
    return name, old.lstrip(), rest


def _name(line: str) -> str | None:
    name, colon, _ = line.partition(":")
    return name if colon and name and not line.lstrip(" \t").startswith("#") else None


def _describe(line: str) -> Entry:
    name, stored, _ = _parts(line.rstrip("\r"))
    stored = stored.strip()
    disabled = stored.startswith(DISABLED)
    bare = stored.lstrip(DISABLED)
    shown = name.encode(errors=_LOSSLESS).decode(errors="replace")
    state = "disabled" if disabled else "unusable" if find_fault(bare) or shown != name else "active"
    return Entry(shown, state, scheme_of(bare))


def _change(path: Path, lines: list[str], name: str, change: Callable[[str], str | None]) -> list[str]:
    if not any(_name(line) == name for line in lines):
        raise ConfigError(f"{path}: no user {name!r}; see `compat-auth users list --file {path}`")
    changed = (change(line) if _name(line) == name else line for line in lines)
    return [line for line in changed if line is not None]


def _rewrite(path: Path, edit: Callable[[list[str]], list[str]], *, create: bool = False) -> None:
    with _explained(path):
        # A symbolic link stays; the file that it points to is replaced.
        target = path.resolve()
        with _locked(target, create=create) as descriptor:
            text = _text(target)
            lines = text.removesuffix("\n").split("\n") if text else []
            changed = edit(lines)
            _replace(target, "".join(f"{line}\n" for line in changed).encode(errors=_LOSSLESS), os.fstat(descriptor))


@contextlib.contextmanager
def _locked(target: Path, *, create: bool) -> Generator[int, None, None]:
    while True:
        descriptor = os.open(target, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), PRIVATE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # The previous holder of the lock has replaced the file: lock the new one.
            if target.exists() and os.path.samestat(os.fstat(descriptor), target.stat()):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _replace(target: Path, content: bytes, old: os.stat_result) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _explained(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: no such file; create it with `compat-auth users add NAME --file {path}`") from exc
    except OSError as exc:
        raise ConfigError(
            f"{path}: cannot be changed or read ({exc.strerror}); check the mode of the file and of its folder"
        ) from exc
