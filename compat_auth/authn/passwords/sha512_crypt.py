"""SHA-512-crypt (`$6$`), as https://www.akkadia.org/drepper/SHA-crypt.txt specifies it.

This is our own code: Python 3.13 has no `crypt`, and a library for this one function brings thirty other schemes.
"""

from __future__ import annotations

import hashlib
import hmac
import re

DEFAULT_ROUNDS = 5000
MIN_ROUNDS = 1000  # the specification raises fewer to this, so that nothing ever wrote fewer
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# rounds= without leading zeros: crypt() writes none, and compares the whole text.
_FORM = re.compile(r"\$6\$(?:rounds=([1-9]\d{0,8})\$)?([^$\0]{0,16})\$([./A-Za-z0-9]{86})")


def verify(password: bytes, stored: str) -> bool:
    """Return whether the password has this hash; the time grows with rounds times the length of the password.

    Raises:
        ValueError: Not a hash that crypt() could have written.
    """
    found = _FORM.fullmatch(stored)
    rounds = int(found[1] or DEFAULT_ROUNDS) if found else 0
    if not found or rounds < MIN_ROUNDS:
        raise ValueError("not a SHA-512-crypt hash")
    # crypt() takes a C string: it never hashed more than what is before a NUL, which would be another password.
    return b"\0" not in password and hmac.compare_digest(_hash(password, found[2].encode(), rounds), found[3])


def _hash(password: bytes, salt: bytes, rounds: int) -> str:
    """Return the 86 characters; the numbers are the steps of the specification."""
    sha512 = hashlib.sha512
    length = len(password)
    inner = sha512(password + salt + password).digest()  # 4 to 8
    start = sha512(password + salt + _stretch(inner, length))  # 1 to 3, 9, 10
    bits = length
    while bits:  # 11
        start.update(inner if bits & 1 else password)
        bits >>= 1
    digest = start.digest()  # 12
    p = _stretch(sha512(password * length).digest(), length)  # 13 to 16
    s = _stretch(sha512(salt * (16 + digest[0])).digest(), len(salt))  # 17 to 20
    for number in range(rounds):  # 21
        odd = number & 1
        digest = sha512(
            (p if odd else digest) + (s if number % 3 else b"") + (p if number % 7 else b"") + (digest if odd else p)
        ).digest()
    return _encode(digest)


def _stretch(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


def _encode(digest: bytes) -> str:
    """Return step 22: three bytes, 21 apart and turned by one each time, as four characters, lowest bits first."""
    order = [(0, 21, 42)]
    while len(order) < 21:
        first, second, third = order[-1]
        order.append((second + 1, third + 1, first + 1))
    groups = [(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in order] + [(digest[63], 2)]
    return "".join(_ALPHABET[value >> 6 * place & 63] for value, count in groups for place in range(count))
