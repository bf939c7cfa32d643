"""The file with our signing keys: private, and written completely or not at all.

It holds a JWK set (RFC 7517 section 5) of private keys; each key also has `created`, `signs_from` and `retires`, in
seconds since the epoch (`retires` may be null).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compat_auth.crypto.private_file import refuse_exposed, written_aside
from compat_auth.crypto.strict_json import is_list, is_object, parse_object
from compat_auth.errors import KeyFileError
from compat_auth.tokens.jose.jwk import (
    KeyAlgorithm,
    PrivateKey,
    algorithm_of,
    load_private_jwk,
    private_jwk,
    thumbprint,
)

MAX_FILE_BYTES = 1 << 20
_MADE_BY = "compat-auth keys create"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key in the file, and when it is used. Times are seconds since the epoch (UTC).

    Attributes:
        private: The loaded key.
        created: When it was created.
        signs_from: When it may start to sign; before that it is only published.
        retires: When it stops being published; None while it has no successor.
        kid: RFC 7638 thumbprint of the public part.
    """

    private: PrivateKey = field(repr=False)
    created: int
    signs_from: int
    retires: int | None
    kid: str

    @property
    def algorithm(self) -> KeyAlgorithm:
        """The one algorithm that it signs with."""
        return algorithm_of(self.private)

    def is_published(self, now: float) -> bool:
        """Return whether verifiers may still accept the key."""
        return self.retires is None or now < self.retires

    def may_sign(self, now: float) -> bool:
        """Return whether the key may sign."""
        return self.signs_from <= now and self.is_published(now)


@dataclass(frozen=True, slots=True)
class FileContent:
    """The content of a key file at one time.

    Attributes:
        keys: In the order of `signs_from`.
        signature: Changes whenever the file does.
    """

    keys: tuple[StoredKey, ...]
    signature: tuple[int, ...]


def file_signature(status: os.stat_result) -> tuple[int, ...]:
    """Return a value that changes whenever the file, its owner or its mode does."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def read_key_file(path: Path) -> FileContent:
    """Return the keys in the file.

    Raises:
        KeyFileError: The file is missing, readable by others, owned by another user, or not a key file; says the next
            step.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as exc:
        raise KeyFileError(f"{path}: cannot be read ({exc.strerror}); run as the user who owns it") from exc
    try:
        # Check the opened file, not its name: the name may point to another file a moment later.
        status = os.fstat(descriptor)
        refuse_exposed(path, status, holds="the private keys", made_by=_MADE_BY)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            text = file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(text) > MAX_FILE_BYTES:
        raise KeyFileError(f"{path}: larger than {MAX_FILE_BYTES} bytes, so not a key file; name another file")
    return FileContent(_parse(path, text), file_signature(status))


def create_key_file(path: Path, keys: tuple[StoredKey, ...]) -> None:
    """Write a new key file with mode 0600.

    Raises:
        KeyFileError: The file exists already, or the folder is not writable.
    """
    with written_aside(path, _content(keys)) as temporary:
        try:
            # link() fails where rename() would overwrite, so a key in use is never lost.
            os.link(temporary, path)
        except FileExistsError:
            raise KeyFileError(
                f"{path}: exists already; add a key with: compat-auth keys rotate --file {path}, or name another file"
            ) from None


def replace_key_file(path: Path, keys: tuple[StoredKey, ...]) -> None:
    """Replace the whole file; readers see the old or the new content, never a mixture.

    Raises:
        KeyFileError: The folder is not writable.
    """
    # A symbolic link (as in a mounted secret) stays; the file that it points to is replaced.
    target = path.resolve()
    with written_aside(target, _content(keys)) as temporary:
        temporary.replace(target)


@contextlib.contextmanager
def lock_key_file(path: Path) -> Generator[None]:
    """Hold the file's lock, so that one writer at a time changes it; others wait.

    Raises:
        KeyFileError: The lock file cannot be created.
    """
    try:
        target = path.resolve(strict=True)
    except OSError:
        raise _missing(path) from None
    lock = target.with_name(f".{target.name}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise KeyFileError(f"{lock}: cannot be made ({exc.strerror}); make the folder writable for this user") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _missing(path: Path) -> KeyFileError:
    return KeyFileError(f"{path}: no such key file; make one with: compat-auth keys create --file {path}")


def _content(keys: tuple[StoredKey, ...]) -> bytes:
    return json.dumps({"keys": [_serialise(key) for key in keys]}, indent=2).encode() + b"\n"


def _serialise(key: StoredKey) -> dict[str, Any]:
    times = {"created": key.created, "signs_from": key.signs_from, "retires": key.retires}
    return {**private_jwk(key.private), "kid": key.kid, "alg": key.algorithm, "use": "sig", **times}


def _parse(path: Path, text: bytes) -> tuple[StoredKey, ...]:
    try:
        entries = parse_object(text).get("keys")
    except ValueError as exc:
        raise KeyFileError(f"{path}: {exc}; name a file made by: compat-auth keys create") from None
    if not is_list(entries) or not entries:
        raise KeyFileError(f"{path}: holds no keys; name a file made by: compat-auth keys create")
    keys = [_parse_key(f"{path}: keys[{place}]", entry) for place, entry in enumerate(entries)]
    if len({key.kid for key in keys}) < len(keys):
        raise KeyFileError(f"{path}: holds one key twice; remove one of them")
    return tuple(sorted(keys, key=lambda key: (key.signs_from, key.created, key.kid)))


def _parse_key(where: str, entry: Any) -> StoredKey:
    if not is_object(entry):
        raise KeyFileError(f"{where}: not a JWK")
    jwk = entry
    try:
        private = load_private_jwk(jwk)
    except KeyFileError as exc:
        raise KeyFileError(f"{where}: {exc}") from None
    kid = thumbprint(private.public_key())
    if jwk.get("kid") != kid:
        raise KeyFileError(f"{where}: kid: not the thumbprint of the key; the file was altered; restore a backup")
    if jwk.get("alg") != algorithm_of(private):
        raise KeyFileError(f"{where}: alg: a key of this kind is for {algorithm_of(private)}")
    retires = None if jwk.get("retires") is None else _time(where, jwk, "retires")
    return StoredKey(private, _time(where, jwk, "created"), _time(where, jwk, "signs_from"), retires, kid)


def _time(where: str, jwk: dict[str, Any], name: str) -> int:
    value = jwk.get(name)
    # A bool is an int to Python, and a time to nobody.
    if type(value) is not int or value < 0:
        raise KeyFileError(f"{where}: {name}: not a number of seconds since the epoch")
    return value
