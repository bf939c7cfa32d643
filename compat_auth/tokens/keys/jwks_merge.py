"""Publish trusted public keys beside ours, so that an upstream accepts both its own JWTs and ours."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from compat_auth.crypto.file_modes import refuse_writable
from compat_auth.crypto.strict_json import is_list, is_object, parse_object
from compat_auth.errors import ConfigError, KeyFileError
from compat_auth.tokens.jose.jwk import MIN_RSA_BITS, PublicKey, load_public_jwk, public_members, thumbprint

MAX_FILE_BYTES = 1 << 20


def merge_jwks(own: Iterable[Mapping[str, str]], trusted: Iterable[str]) -> list[dict[str, str]]:
    """Return our public keys and those of the trusted files, each kid once; private members are never included.

    Args:
        own: Our own public JWKs.
        trusted: Files, each a JWKS, a JWK, or a PEM key (only the public key is taken). The kid of a PEM key is its
            thumbprint (RFC 7638), or what follows `#kid=`: Airflow's `[api_auth] jwt_kid`.

    Raises:
        ConfigError: A file is missing or has no public key, a key is symmetric, or two keys have the same kid.
    """
    merged: dict[str, dict[str, str]] = {}
    for jwk in own:
        _add(merged, dict(jwk), "key_file")
    for entry in trusted:
        path, _, kid = entry.partition("#kid=")
        where = f"[token] trusted_jwks: {path}"
        for jwk in _read(path, kid, where):
            _add(merged, jwk, where)
    return list(merged.values())


def _add(merged: dict[str, dict[str, str]], jwk: dict[str, str], where: str) -> None:
    present = merged.setdefault(jwk["kid"], jwk)
    if any(present.get(name) != jwk.get(name) for name in ("kty", "crv", "x", "y", "n", "e")):
        raise ConfigError(f"{where}: another key already has kid {jwk['kid']!r}; give each key its own kid")


def _read(path: str, kid: str, where: str) -> list[dict[str, str]]:
    try:
        with Path(path).open("rb") as file:
            refuse_writable(Path(path), os.fstat(file.fileno()))
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{where}: cannot be read ({exc.strerror}); name a JWKS, JWK or PEM file") from exc
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError(f"{where}: larger than {MAX_FILE_BYTES} bytes; name a JWKS, JWK or PEM file")
    try:
        return _public_keys(text, kid)
    except KeyFileError as exc:
        raise ConfigError(f"{where}: {exc}") from None


def _public_keys(text: bytes, kid: str) -> list[dict[str, str]]:
    if text.lstrip().startswith(b"-----BEGIN"):
        key = _load_pem(text)
        return [{**public_members(key), "kid": kid or thumbprint(key), "use": "sig"}]
    entries = _json_keys(text)
    if kid and len(entries) > 1:
        raise KeyFileError("#kid= names one key, but the file has several; remove #kid=")
    return [_public_jwk(jwk, kid) for jwk in entries]


def _load_pem(text: bytes) -> PublicKey:
    try:
        key = load_pem_private_key(text, None) if b"PRIVATE KEY" in text else load_pem_public_key(text)
    except TypeError:
        raise KeyFileError("the PEM key is encrypted; give the public key instead: openssl pkey -pubout") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError("not a PEM key; make one with: openssl pkey -pubout") from None
    match key:
        case Ed25519PrivateKey() | RSAPrivateKey() | EllipticCurvePrivateKey():
            public: object = key.public_key()
        case _:
            public = key
    if not isinstance(public, Ed25519PublicKey | RSAPublicKey | EllipticCurvePublicKey):
        raise KeyFileError("the PEM key is neither Ed25519, RSA nor EC")
    if isinstance(public, RSAPublicKey) and public.key_size < MIN_RSA_BITS:
        raise KeyFileError(f"RSA key of {public.key_size} bits; the minimum is {MIN_RSA_BITS}")
    return public


def _json_keys(text: bytes) -> list[dict[str, Any]]:
    try:
        content = parse_object(text)
    except ValueError as exc:
        raise KeyFileError(f"neither JSON nor PEM ({exc}); name a JWKS, JWK or PEM file") from None
    entries = content.get("keys", [content])
    if not is_list(entries) or not entries:
        raise KeyFileError("not a JWKS: no list of keys; export the keys again, or remove the file")
    if not all(is_object(entry) for entry in entries):
        raise KeyFileError("not a JWKS: a key is not an object")
    return entries


def _public_jwk(jwk: Mapping[str, Any], kid: str) -> dict[str, str]:
    key = load_public_jwk(jwk)
    named = kid or jwk.get("kid") or thumbprint(key)
    if not isinstance(named, str):
        raise KeyFileError("kid: not a string")
    # Rebuilt from the public numbers, so that nothing else in the file can get into what we publish.
    public = {**public_members(key), "kid": named}
    return public | {name: jwk[name] for name in ("alg", "use") if isinstance(jwk.get(name), str)}
