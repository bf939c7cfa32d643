"""Stored password hashes: every scheme of htpasswd files and of FAB, with a limit on the cost of a check.

The schemes, and what writes them:

- bcrypt (`$2a$`, `$2b$`, `$2y$`): `htpasswd -B`. The scheme reads 72 bytes; a longer password never matches, because
  every other password with the same beginning would match too.
- argon2 (`$argon2id$`, `$argon2i$`, `$argon2d$`): `compat-auth users`.
- SHA-512-crypt (`$6$`): `htpasswd -5`, `mkpasswd`.
- `scrypt:N:r:p$salt$hex` and `pbkdf2:DIGEST:ITERATIONS$salt$hex`: FAB, by werkzeug's default since Airflow 1.10.
- `sha256$salt$hex` and its kin (SHA-1, SHA-2, keyed with the salt): FAB on werkzeug before 3, where
  `FAB_PASSWORD_HASH_METHOD` selects it.

Refused: werkzeug's `plain$`, `md5$` and its digests without a salt, which FAB writes only if it is configured to: a
leaked table of these is a table of passwords.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import bcrypt
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerificationError

from compat_auth.authn.passwords import sha512_crypt

logger = logging.getLogger("compat_auth.hashing")

BCRYPT_MAX_BYTES = 72  # the Blowfish key schedule reads no further
MAX_PASSWORD_BYTES = 4096  # the cost of SHA-512-crypt grows with the length
# Caps: several times what the costliest default asks for, so that no stored text can hold a core for minutes
# or take the memory of a worker.
BCRYPT_MAX_COST = 16  # htpasswd -B: 5; packages: 12; each step doubles
PBKDF2_MAX_ITERATIONS = 10_000_000  # werkzeug 3.1: 1,000,000
SHA512_CRYPT_MAX_ROUNDS = 1_000_000  # default 5,000; the format allows 999,999,999
SCRYPT_MAX_WORK = 2**22  # N*r*p; werkzeug: 2^18
ARGON2_MAX_WORK = 4 * 2**20  # passes * KiB; argon2-cffi: 3 * 64 MiB
MAX_MEMORY_KIB = 2**18  # 256 MiB; argon2-cffi: 64 MiB, werkzeug's scrypt: 32 MiB
_MAX_STORED_CHARS = 1024
# Approximate milliseconds on one core of 2020, for one unit of each scheme's cost.
_BCRYPT_MS, _ARGON2_MS, _SHA512_CRYPT_MS, _PBKDF2_MS, _SCRYPT_MS, _DIGEST_MS = 0.087, 9e-4, 2e-3, 2.1e-4, 3.2e-4, 2e-3
_DIGESTS = frozenset({"sha1", "sha224", "sha256", "sha384", "sha512"})
_CRYPT_CHARS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class _Unusable(Exception):  # internal: it never leaves this module
    """A stored hash that can never match; the message names the fault, never the hash."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A parsed hash.

    Attributes:
        cost_ms: Approximate time of a check, in milliseconds.
        matches: Compares a password, at the full cost.
        decoy: Makes a hash of the same cost that no password matches.
    """

    cost_ms: float
    matches: Callable[[bytes], bool]
    decoy: Callable[[], str]


def scheme_of(stored: str) -> str:
    """Return the scheme of a stored hash, such as "bcrypt"; "" for an unsupported one."""
    return next((name for name, prefix, _ in _SCHEMES if prefix.match(stored)), "")


def check_hash(stored: str, password: str) -> bool:
    """Return whether the password matches the stored hash.

    Takes tens to hundreds of milliseconds: run it in a `HashPool`. A stored hash that is malformed, of a refused scheme
    or above a limit never matches, and a warning names its scheme.

    Args:
        stored: As stored in the directory; "" never matches.
        password: Not normalised; checked as UTF-8.
    """
    try:
        given = password.encode()
        # A password that is too long is refused only after the time is spent, like any other wrong password.
        return _read(stored).matches(given[:MAX_PASSWORD_BYTES]) and len(given) <= MAX_PASSWORD_BYTES
    except UnicodeEncodeError:
        return False
    except _Unusable as fault:
        logger.warning("a stored password hash is unusable: %s", fault)
        return False


def find_fault(stored: str) -> str:
    """Return why a stored hash can never match, "" if it can; costs no hashing and reveals nothing of the hash."""
    try:
        _read(stored)
    except _Unusable as fault:
        return str(fault)
    return ""


def decoy_like(stored: Iterable[str]) -> str:
    """Return a hash of no password, as costly to check as the costliest of these; if none is usable, as ours."""
    usable = [_read(text) for text in stored if not find_fault(text)]
    likest = max(usable, key=lambda parts: parts.cost_ms, default=None)
    return (likest or _read(_OWN)).decoy()


def new_hasher() -> PasswordHasher:
    """Return a hasher for new hashes: argon2id, 2 passes, 19 MiB, 1 lane (OWASP Password Storage Cheat Sheet)."""
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def _read(stored: str) -> _Stored:
    for name, prefix, read in _SCHEMES:
        if prefix.match(stored):
            if len(stored) > _MAX_STORED_CHARS:
                raise _Unusable(f"{name}: longer than {_MAX_STORED_CHARS} characters")
            return read(stored)
    raise _Unusable("unsupported scheme")


def _capped(scheme: str, what: str, value: int, most: int) -> int:
    if not 1 <= value <= most:
        raise _Unusable(f"{scheme}: {what} not between 1 and {most}")
    return value


def _fields(pattern: str, scheme: str, stored: str) -> tuple[str, ...]:
    found = re.fullmatch(pattern, stored)
    if not found:
        raise _Unusable(f"{scheme}: malformed")
    return found.groups(default="")


def _random(length: int, alphabet: str = _CRYPT_CHARS) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _read_bcrypt(stored: str) -> _Stored:
    (cost_text,) = _fields(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}", "bcrypt", stored)
    cost = _capped("bcrypt", "cost", int(cost_text), BCRYPT_MAX_COST)

    def matches(password: bytes) -> bool:
        try:
            # Truncated, because bcrypt 5 raises beyond 72 bytes; refused, because bcrypt 4 would ignore the rest.
            same = bcrypt.checkpw(password[:BCRYPT_MAX_BYTES], stored.encode())
        except ValueError as exc:
            raise _Unusable("bcrypt: malformed") from exc
        return same and len(password) <= BCRYPT_MAX_BYTES

    def decoy() -> str:
        return bcrypt.gensalt(max(cost, 4)).decode() + _random(31)

    return _Stored(_BCRYPT_MS * 2**cost, matches, decoy)


def _read_argon2(stored: str) -> _Stored:
    try:
        given = extract_parameters(stored)
    except ValueError as exc:
        raise _Unusable("argon2: malformed") from exc
    _capped("argon2", "memory in KiB", given.memory_cost, MAX_MEMORY_KIB)
    _capped("argon2", "lanes", given.parallelism, 64)
    work = _capped("argon2", "passes times KiB", given.time_cost * given.memory_cost, ARGON2_MAX_WORK)

    def matches(password: bytes) -> bool:
        try:
            return PasswordHasher().verify(stored, password)
        except VerificationError as exc:
            # A mismatch is a subclass; every other error means that the library could not check at all.
            if type(exc) is VerificationError:
                raise _Unusable("argon2: malformed") from exc
            return False
        except ValueError as exc:
            raise _Unusable("argon2: malformed") from exc

    def decoy() -> str:
        salt, digest = (
            base64.b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
            for length in (given.salt_len, given.hash_len)
        )
        return f"{stored.rsplit('$', 2)[0]}${salt}${digest}"

    return _Stored(_ARGON2_MS * work, matches, decoy)


def _read_sha512_crypt(stored: str) -> _Stored:
    rounds_text, _ = _fields(r"\$6\$(?:rounds=(\d{1,9})\$)?([^$:\s]{0,16})\$[./A-Za-z0-9]{86}", "sha512-crypt", stored)
    rounds = _capped("sha512-crypt", "rounds", int(rounds_text or 5000), SHA512_CRYPT_MAX_ROUNDS)

    def matches(password: bytes) -> bool:
        try:
            return sha512_crypt.verify(password, stored)
        except ValueError as exc:
            raise _Unusable("sha512-crypt: malformed") from exc

    return _Stored(
        _SHA512_CRYPT_MS * rounds, matches, lambda: f"$6$rounds={max(rounds, 1000)}${_random(16)}${_random(86)}"
    )


def _same(digest: bytes, stored_hex: str) -> bool:
    return hmac.compare_digest(digest.hex(), stored_hex)


def _read_pbkdf2(stored: str) -> _Stored:
    digest, count, salt, expected = _fields(r"pbkdf2:([a-z0-9]+):(\d{1,9})\$([^$]+)\$([0-9a-f]+)", "pbkdf2", stored)
    size = _digest_size("pbkdf2", digest, expected)
    iterations = _capped("pbkdf2", "iterations", int(count), PBKDF2_MAX_ITERATIONS)
    return _Stored(
        _PBKDF2_MS * iterations,
        lambda password: _same(hashlib.pbkdf2_hmac(digest, password, salt.encode(), iterations), expected),
        lambda: f"pbkdf2:{digest}:{iterations}${_random(16)}${secrets.token_hex(size)}",
    )


def _read_scrypt(stored: str) -> _Stored:
    *numbers, salt, expected = _fields(
        r"scrypt:(\d{1,9}):(\d{1,9}):(\d{1,9})\$([^$]+)\$([0-9a-f]{128})", "scrypt", stored
    )
    n, r, p = (int(text) for text in numbers)
    work = _capped("scrypt", "N times r times p", n * r * p, SCRYPT_MAX_WORK)
    _capped("scrypt", "memory in KiB", n * r // 8, MAX_MEMORY_KIB)

    def matches(password: bytes) -> bool:
        try:
            # 128*N*r bytes, plus some for the lanes; OpenSSL's default limit is 32 MiB, all of which werkzeug's N
            # needs.
            found = hashlib.scrypt(password, salt=salt.encode(), n=n, r=r, p=p, maxmem=132 * n * r * p + 2**20)
        except ValueError as exc:
            raise _Unusable("scrypt: malformed") from exc
        return _same(found, expected)

    return _Stored(_SCRYPT_MS * work, matches, lambda: f"scrypt:{n}:{r}:{p}${_random(16)}${secrets.token_hex(64)}")


def _read_digest(stored: str) -> _Stored:
    digest, salt, expected = _fields(r"([a-z0-9]+)\$([^$]+)\$([0-9a-f]+)", "salted digest", stored)
    size = _digest_size("salted digest", digest, expected)
    return _Stored(
        _DIGEST_MS,
        lambda password: _same(hmac.digest(salt.encode(), password, digest), expected),
        lambda: f"{digest}${_random(16)}${secrets.token_hex(size)}",
    )


def _digest_size(scheme: str, digest: str, expected: str) -> int:
    if digest not in _DIGESTS or len(expected) != 2 * hashlib.new(digest).digest_size:
        raise _Unusable(f"{scheme}: unknown digest or wrong length")
    return len(expected) // 2


_SCHEMES: tuple[tuple[str, re.Pattern[str], Callable[[str], _Stored]], ...] = (
    ("bcrypt", re.compile(r"\$2[aby]\$"), _read_bcrypt),
    ("argon2", re.compile(r"\$argon2(?:id|i|d)\$"), _read_argon2),
    ("sha512-crypt", re.compile(r"\$6\$"), _read_sha512_crypt),
    ("pbkdf2", re.compile(r"pbkdf2:"), _read_pbkdf2),
    ("scrypt", re.compile(r"scrypt:"), _read_scrypt),
    ("salted digest", re.compile(r"(?:sha1|sha224|sha256|sha384|sha512)\$"), _read_digest),
)
# The decoy where no stored hash is usable: the form of our own hash, of no password.
_OWN = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
