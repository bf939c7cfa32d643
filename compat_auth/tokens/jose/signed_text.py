"""Whether a key has signed a text (RFC 7515 section 5.2), whatever its header and its claims say. No I/O.

To revoke a token it must be enough that an upstream may accept it, and some accept what `jwt.verify` refuses: a header
without `kid` or `typ`, times with a fraction, years of lifetime. This proves who wrote a token, and never that it is valid.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from jwt.algorithms import Algorithm, HMACAlgorithm, get_default_algorithms

from compat_auth.tokens.jose.jwk import VerifyingKey

_ALGORITHMS: dict[str, Algorithm] = get_default_algorithms()
# An upstream may allow each of them for its secret.
_OF_SECRETS: tuple[Algorithm, ...] = tuple(
    HMACAlgorithm(of) for of in (HMACAlgorithm.SHA512, HMACAlgorithm.SHA256, HMACAlgorithm.SHA384)
)


def is_signed_by_one_of(keys: Iterable[VerifyingKey], token: str) -> bool:
    """Return whether one of the keys has signed a compact JWS; False for a text that is none."""
    signed, dot, spelling = token.rpartition(".")
    if not dot or signed.count(".") != 1:
        return False
    try:
        text = signed.encode("ascii")
        # As lenient as PyJWT is: the text that was signed is the same.
        signature = base64.urlsafe_b64decode(spelling + "=" * (-len(spelling) % 4))
    except (UnicodeEncodeError, binascii.Error, ValueError):
        return False
    return any(_is_signed_by(key, text, signature) for key in keys)


def _is_signed_by(key: VerifyingKey, text: bytes, signature: bytes) -> bool:
    if isinstance(key.material, bytes):
        return any(algorithm.verify(text, key.material, signature) for algorithm in _OF_SECRETS)
    return _ALGORITHMS[key.algorithm].verify(text, key.material, signature)
