"""A login at an OpenID provider: the authorization code flow (OpenID Connect Core 3.1) as RFC 9700 requires.

PKCE and the nonce are derived from the attempt's own secret, so that a code or an ID token of another attempt, or of
another browser, is refused.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from compat_auth.config import OidcIssuerSettings
from compat_auth.errors import BackendUnavailable, InvalidToken, NoSuchUser
from compat_auth.openid import parse_object
from compat_auth.outcome import Outcome, Reject
from compat_auth.sign_in import Attempt
from compat_auth_backends.openid.discovery import Discovery
from compat_auth_backends.openid.issuer import Issuer, Vouched

_MAX_CODE_CHARS = 4096


@dataclass(frozen=True, slots=True)
class _Tokens:
    id_token: str = field(repr=False)
    access_token: str = field(repr=False)


class CodeFlow:
    """The login at one issuer; see `compat_auth.sign_in.RedirectSignIn`. Any thread may call.

    Args:
        settings: The issuer's table, with `sign_in`.
        issuer: Checks its ID tokens.
        admit: Returns the outcome for the user that the issuer names, as for its access tokens.
    """

    def __init__(self, settings: OidcIssuerSettings, issuer: Issuer, admit: Callable[[Vouched], Outcome]) -> None:
        self.name = settings.sign_in
        self.label = settings.sign_in_label or f"Log in with {urlsplit(settings.issuer).hostname or settings.issuer}"
        self._client_id = settings.client_id
        self._scope = settings.sign_in_scope
        self._issuer = issuer
        self._discovery: Discovery = issuer.discovery
        self._admit = admit

    def begin(self, attempt: Attempt) -> str:
        """Return the provider's login page for an attempt; see `RedirectSignIn.begin`."""
        endpoint = self._discovery.endpoint("authorization_endpoint")
        challenge = hashlib.sha256(_verifier(attempt).encode("ascii")).digest()
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": attempt.redirect_uri,
            "scope": self._scope,
            "state": attempt.state,
            "nonce": _nonce(attempt),
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode("ascii"),
            "code_challenge_method": "S256",  # RFC 7636 section 4.2
        }
        return f"{endpoint.url}{'&' if '?' in endpoint.url else '?'}{urlencode(query)}"

    def finish(self, attempt: Attempt, answer: Mapping[str, str]) -> Outcome:
        """Return who has logged in at the provider; see `RedirectSignIn.finish`."""
        try:
            code = self._code_in(answer)
            tokens = self._redeem(code, attempt)
            vouched = self._issuer.check_id_token(
                tokens.id_token, nonce=_nonce(attempt), access_token=tokens.access_token
            )
        except InvalidToken as error:
            return Reject(f"oidc: {error}", status=403)
        except NoSuchUser as error:
            return Reject(str(error), status=error.status)
        # The end of an ID token is the end of its use here, not of the login (OpenID Connect Core 2).
        return self._admit(replace(vouched, expires_at=None))

    def _code_in(self, answer: Mapping[str, str]) -> str:
        # Before anything else, an error included: else one provider could answer for another (RFC 9207 section 2.4).
        issuer = answer.get("iss")
        if issuer is None and self._discovery.promises("authorization_response_iss_parameter_supported"):
            raise InvalidToken("iss: missing in the answer, though the issuer says that it sends it")
        if issuer is not None and issuer != self._issuer.name:
            raise InvalidToken("iss: the answer is another issuer's")
        if "error" in answer:
            # Only the code, and that quoted: the description is anybody's text.
            raise InvalidToken(f"the issuer answered {answer['error'][:60]!r}")
        code = answer.get("code", "")
        if not 0 < len(code) <= _MAX_CODE_CHARS:
            raise InvalidToken("code: missing or too long")
        return code

    def _redeem(self, code: str, attempt: Attempt) -> _Tokens:
        endpoint = self._discovery.endpoint("token_endpoint")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": _verifier(attempt),
        }
        headers, named = self._issuer.client_credentials()
        answer = endpoint.post_form({**form, **named}, headers)
        told = self._read(endpoint.url, answer.body)
        if answer.status == 400 and told.get("error") == "invalid_grant":
            raise InvalidToken("code: not one of this attempt, used before, or too old")
        if answer.status != 200:
            # 401 and what else is said of our own client is our configuration, not the user's fault.
            raise BackendUnavailable(f"{endpoint.url}: answered {answer.status}")
        id_token, access_token = told.get("id_token"), told.get("access_token")
        if not isinstance(id_token, str) or not isinstance(access_token, str):
            raise InvalidToken("the issuer gave no ID token; does the scope have openid?")
        return _Tokens(id_token, access_token)

    @staticmethod
    def _read(url: str, body: bytes) -> Mapping[str, Any]:
        try:
            return parse_object(body)
        except ValueError:
            raise BackendUnavailable(f"{url}: not JSON that has one reading") from None


def _nonce(attempt: Attempt) -> str:
    return attempt.derive("nonce")


def _verifier(attempt: Attempt) -> str:
    return attempt.derive("code_verifier")
