"""What replicas tell each other by way of a server that need not be trusted: sealed, so that it can neither read nor forge.

A box is the key's id, a nonce, and AES-256-GCM's output. What it is for and what it belongs to are authenticated too,
so that a box never opens as another.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIN_SECRET_BYTES = 32
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12  # NIST SP 800-38D 8.2


class SealedBoxes:
    """Seals and opens boxes for one purpose. Keeps no state: any thread and any process may use it.

    Args:
        secrets: Newest first; the first seals, all open. Each at least 32 bytes.
        purpose: What the boxes are for; those for another do not open.
    """

    def __init__(self, secrets: tuple[str, ...], purpose: str) -> None:
        self._purpose = purpose.encode("ascii")
        self._keys = {self._derive(b"key id", secret, _KEY_ID_BYTES): self._cipher(secret) for secret in secrets}
        self._newest = next(iter(self._keys))
        self.digest_key = self._derive(b"digest", secrets[0], 32)
        """For keyed digests of what boxes belong to, the same in every replica."""

    def seal(self, content: bytes, *, belongs_to: bytes = b"") -> bytes:
        """Return the content in a box that opens only for what it belongs to."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._newest + nonce + self._keys[self._newest].encrypt(nonce, content, self._purpose + belongs_to)

    def open(self, box: bytes, *, belongs_to: bytes = b"") -> bytes | None:
        """Return what was sealed, or None where nobody who knows a secret has sealed this for that."""
        cipher = self._keys.get(box[:_KEY_ID_BYTES])
        nonce, sealed = box[_KEY_ID_BYTES : _KEY_ID_BYTES + _NONCE_BYTES], box[_KEY_ID_BYTES + _NONCE_BYTES :]
        if cipher is None:
            return None
        try:
            return cipher.decrypt(nonce, sealed, self._purpose + belongs_to)
        except (InvalidTag, ValueError):
            return None

    def _cipher(self, secret: str) -> AESGCM:
        return AESGCM(self._derive(b"AES-256-GCM", secret, 32))

    def _derive(self, use: bytes, secret: str, length: int) -> bytes:
        raw = secret.encode("utf-8", "surrogatepass")
        return HKDF(SHA256(), length, None, b"compat_auth " + self._purpose + b" " + use).derive(raw)
