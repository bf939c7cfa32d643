"""Reports of leaked tokens, as GitHub's secret scanning sends them to its partners.

A report is a JSON list, signed with ECDSA (P-256, SHA-256) over its exact bytes by a key that the reporter publishes. A
report without a valid signature is refused; an entry that is not one of our tokens with its secret is ignored.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from compat_auth.config import Settings
from compat_auth.crypto.strict_json import is_list, is_object, parse_object
from compat_auth.errors import BackendUnavailable, BadRequest, NoSuchToken, NotAuthenticated
from compat_auth.net.cached_document import Fetched, FetchedDocument, ttl_of
from compat_auth.net.https_client import Endpoint
from compat_auth.personal_tokens.service import PersonalTokens

KEY_HEADER = "Github-Public-Key-Identifier"
SIGNATURE_HEADER = "Github-Public-Key-Signature"
MAX_TOKENS = 1000
_MAX_HEADER = 512
_log = logging.getLogger("compat_auth.leak_reports")

Keys = dict[str, EllipticCurvePublicKey]


class LeakReports:
    """Receives reports for one set of tokens. Any thread may use it.

    Args:
        tokens: The tokens that reports are about.
        endpoint: Where the reporter publishes its keys.
    """

    def __init__(self, tokens: PersonalTokens, endpoint: Endpoint) -> None:
        self._tokens = tokens
        self._endpoint = endpoint
        self._keys: FetchedDocument[Keys] = FetchedDocument("personal_tokens.leak_keys_url", self._fetch)

    @classmethod
    def from_settings(cls, tokens: PersonalTokens, settings: Settings) -> LeakReports | None:
        """Return the receiver for the keys at `[personal_tokens] leak_keys_url`, or None where that is not set.

        Raises:
            ConfigError: The URL is unusable.
        """
        section = settings.personal_tokens
        if not section.leak_keys_url:
            return None
        where = "personal_tokens.leak_keys_url"
        return cls(tokens, Endpoint.parse(section.leak_keys_url, where=where, ca_file=section.ca_file))

    def take(self, body: bytes, *, key_id: str, signature: str) -> int:
        """Revoke every reported token that is ours, and return how many there were.

        Args:
            body: Body of the request, unchanged.
            key_id: The reporter's id of its key.
            signature: The signature, in Base64.

        Raises:
            NotAuthenticated: No key of the reporter has signed the body.
            BadRequest: The body is signed, but is not a list of tokens.
            BackendUnavailable: The keys or the store could not be asked.
        """
        self._require_signature(body, key_id, signature)
        revoked = 0
        for text, source in _entries(body):
            try:
                token = self._tokens.verification.find(text)
                self._tokens.revoke(token, reason=f"leaked: {source}"[:64])
            except (NotAuthenticated, NoSuchToken):
                continue
            revoked += 1
            self._tokens.notices.report_leak(token)
        return revoked

    def _require_signature(self, body: bytes, key_id: str, signature: str) -> None:
        if not 0 < len(key_id) <= _MAX_HEADER or not 0 < len(signature) <= _MAX_HEADER:
            raise NotAuthenticated("the report is not signed")
        key = self._keys.current().get(key_id) or self._keys.renewed().get(key_id)
        try:
            if key is not None:
                key.verify(base64.b64decode(signature, validate=True), body, ECDSA(SHA256()))
                return
        except (InvalidSignature, binascii.Error, ValueError):
            pass
        raise NotAuthenticated("the report is not signed by a key of the reporter")

    def _fetch(self) -> Fetched[Keys]:
        answer = self._endpoint.get()
        if answer.status != 200:
            raise BackendUnavailable(f"{self._endpoint.url}: answered {answer.status}")
        try:
            listed = parse_object(answer.body).get("public_keys")
        except ValueError as error:
            raise BackendUnavailable(f"{self._endpoint.url}: {error}") from None
        if not is_list(listed):
            raise BackendUnavailable(f"{self._endpoint.url}: no public_keys")
        return Fetched(dict(pair for pair in map(_key, listed) if pair is not None), ttl_of(answer.headers))


def _key(entry: Any) -> tuple[str, EllipticCurvePublicKey] | None:
    if (
        not is_object(entry)
        or not isinstance(entry.get("key_identifier"), str)
        or not isinstance(entry.get("key"), str)
    ):
        return None
    try:
        key = load_pem_public_key(entry["key"].encode())
    except ValueError:
        return None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        return None
    return entry["key_identifier"], key


def _entries(body: bytes) -> list[tuple[str, str]]:
    try:
        listed: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("body: not JSON") from None
    if not is_list(listed) or len(listed) > MAX_TOKENS:
        raise BadRequest(f"body: not a list of at most {MAX_TOKENS} tokens")
    return [
        (entry["token"], source if isinstance(source := entry.get("source"), str) and source.isprintable() else "")
        for entry in listed
        if is_object(entry) and isinstance(entry.get("token"), str)
    ]
