"""The system's keyring; keyrings that do not protect secrets are refused."""

from __future__ import annotations

from typing import Any

from compat_auth.client.errors import NoKeyring

try:
    import keyring
    import keyring.backends.chainer
    import keyring.backends.fail
    import keyring.backends.null
    import keyring.errors
except ModuleNotFoundError as exc:
    raise NoKeyring(
        "the library keyring is not installed; install compat_auth with its extra 'client' (README: Install), or log in with --keep-in file"
    ) from exc

SERVICE = "compat_auth"
_OTHERWISE = "unlock or install one (GNOME Keyring, KWallet, macOS, Windows), or log in with --keep-in file"


def write(server: str, secret: str) -> None:
    """Store a secret, and verify that it was stored.

    Raises:
        NoKeyring: There is no keyring, it is locked, or it would write plain text.
    """
    backend = _backend()
    try:
        backend.set_password(SERVICE, server, secret)
        is_kept = backend.get_password(SERVICE, server) == secret
    except keyring.errors.KeyringError as exc:
        raise NoKeyring(f"the system's keyring does not answer ({type(exc).__name__}); {_OTHERWISE}") from None
    if not is_kept:
        raise NoKeyring(f"the system's keyring does not store what it is given; {_OTHERWISE}")


def read(server: str) -> str | None:
    """Return the secret, or None.

    Raises:
        NoKeyring: As for `write`.
    """
    try:
        found: str | None = _backend().get_password(SERVICE, server)
    except keyring.errors.KeyringError as exc:
        raise NoKeyring(f"the system's keyring does not answer ({type(exc).__name__}); {_OTHERWISE}") from None
    return found


def delete(server: str) -> None:
    """Delete the secret, if there is one.

    Raises:
        NoKeyring: As for `write`.
    """
    backend = _backend()
    try:
        if backend.get_password(SERVICE, server) is not None:
            backend.delete_password(SERVICE, server)
    except keyring.errors.KeyringError as exc:
        raise NoKeyring(f"the system's keyring does not answer ({type(exc).__name__}); {_OTHERWISE}") from None


def _backend() -> Any:
    backend: Any = keyring.get_keyring()
    parts = backend.backends if isinstance(backend, keyring.backends.chainer.ChainerBackend) else [backend]
    if not parts or isinstance(backend, (keyring.backends.fail.Keyring, keyring.backends.null.Keyring)):
        raise NoKeyring(f"there is no system keyring here; {_OTHERWISE}")
    # keyrings.alt has such a keyring; a chain passes the secret to whichever of its keyrings accepts it.
    if any("plaintext" in type(part).__name__.lower() for part in parts):
        raise NoKeyring(f"the configured keyring writes secrets as plain text; {_OTHERWISE}")
    return backend
