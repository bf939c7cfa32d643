"""AES-256-GCM with keys that are derived from secrets: the one way in which this project encrypts.

Encrypted data passes through a party that need not be trusted, such as Redis or a browser, which can neither read nor
forge it. Its purpose and the thing that it belongs to are authenticated too, so that it never opens as something else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIN_SECRET_BYTES = 32
_KEY_ID_BYTES = 4
_KEY_BYTES = 32
_NONCE_BYTES = 12  # NIST SP 800-38D 8.2


@dataclass(frozen=True, slots=True)
class SealingKey:
    """One key. Keeps no state: any thread and any process may use it.

    Attributes:
        id: Four bytes that identify the key of one of several secrets, and reveal nothing about the secret.
    """

    id: bytes
    _cipher: AESGCM = field(repr=False)

    def seal(self, content: bytes, context: bytes) -> bytes:
        """Return a random nonce and AES-256-GCM's output; the context is authenticated, but not in it."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, context)

    def open(self, sealed: bytes, context: bytes) -> bytes | None:
        """Return the content, or None if this key has not encrypted it for this context."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            return None


class SealingKeys:
    """The keys of one purpose (HKDF, RFC 5869); those of another purpose have nothing in common with them.

    Args:
        secrets: Newest first, at least one. Each at least 32 bytes.
        purpose: The purpose of the keys.

    Attributes:
        newest: The key that encrypts.
    """

    def __init__(self, secrets: tuple[str, ...], purpose: str) -> None:
        self._purpose = purpose.encode("ascii")
        made = [self._make(secret) for secret in secrets]
        self.newest = made[0]
        self._known = {key.id: key for key in reversed(made)}

    def find(self, key_id: bytes) -> SealingKey | None:
        """Return the key that has this id, or None."""
        return self._known.get(key_id)

    def derive(self, use: bytes, secret: str, length: int) -> bytes:
        """Return that many bytes, derived from a secret, this purpose and a use."""
        raw = secret.encode("utf-8", "surrogatepass")
        return HKDF(SHA256(), length, None, b"compat_auth " + self._purpose + b" " + use).derive(raw)

    def _make(self, secret: str) -> SealingKey:
        cipher = AESGCM(self.derive(b"AES-256-GCM", secret, _KEY_BYTES))
        return SealingKey(self.derive(b"key id", secret, _KEY_ID_BYTES), cipher)


class SealedBoxes:
    """Encrypts and decrypts boxes for one purpose: the key's id, and the ciphertext. Keeps no state.

    Args:
        secrets: Newest first; the first encrypts, all decrypt. Each at least 32 bytes.
        purpose: The purpose of the boxes; those for another do not open.
    """

    def __init__(self, secrets: tuple[str, ...], purpose: str) -> None:
        self._purpose = purpose.encode("ascii")
        self._keys = SealingKeys(secrets, purpose)
        self.digest_key = self._keys.derive(b"digest", secrets[0], _KEY_BYTES)
        """Key for digests of the things that boxes belong to, the same in every replica."""

    def seal(self, content: bytes, *, belongs_to: bytes = b"") -> bytes:
        """Return the content in a box that opens only for the thing that it belongs to."""
        return self._keys.newest.id + self._keys.newest.seal(content, self._purpose + belongs_to)

    def open(self, box: bytes, *, belongs_to: bytes = b"") -> bytes | None:
        """Return the content, or None if nobody who knows a secret has encrypted this box for that thing."""
        key = self._keys.find(box[:_KEY_ID_BYTES])
        return None if key is None else key.open(box[_KEY_ID_BYTES:], self._purpose + belongs_to)
