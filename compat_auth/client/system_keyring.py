"""The system's keyring, and nothing that only looks like one."""

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
        "the library keyring is not installed; run: pip install 'compat_auth[client]', or log in with --keep-in file"
    ) from exc

SERVICE = "compat_auth"
_OTHERWISE = "unlock or install one (GNOME Keyring, KWallet, macOS, Windows), or log in with --keep-in file"


def write(server: str, secret: str) -> None:
    """Keep a secret, and see that it is really kept.

    Raises:
        NoKeyring: There is none, it is locked, or it would write plain text.
    """
    backend = _backend()
    try:
        backend.set_password(SERVICE, server, secret)
        is_kept = backend.get_password(SERVICE, server) == secret
    except keyring.errors.KeyringError as exc:
        raise NoKeyring(f"the system's keyring does not answer ({type(exc).__name__}); {_OTHERWISE}") from None
    if not is_kept:
        raise NoKeyring(f"the system's keyring does not keep what it is given; {_OTHERWISE}")


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
    """Forget the secret; none is fine.

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
    # keyrings.alt has such a thing; a chain hands the secret to whichever of its parts takes it.
    if any("plaintext" in type(part).__name__.lower() for part in parts):
        raise NoKeyring(f"the keyring that is set up here writes secrets as plain text; {_OTHERWISE}")
    return backend
