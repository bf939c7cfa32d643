"""Whether a credential that was accepted may become a token, and which: a JWT of the upstream's, or the credential itself.

The upstream's JWT is good for the whole user. A program with a limited credential gets that credential back as its access
token. Only the gate accepts it, with its limits, and OAuth libraries need not know the difference.
"""

from __future__ import annotations

from compat_auth.api.oauth.client_grants import ClientGrant
from compat_auth.api.oauth.token_request import ACCESS_TOKEN, ID_TOKEN, PERSONAL_TOKEN, SPNEGO, Exchange, TokenRequest
from compat_auth.concurrency.clock import unix_now
from compat_auth.credentials import Bearer
from compat_auth.errors import TokenRequestRefused
from compat_auth.http.request import GateRequest
from compat_auth.identity import Identity, Token
from compat_auth.scopes import ALL, scope_token

# A token of one kind that is shown as another is somebody's mistake, or an attack (RFC 8725 3.11).
_BACKENDS_OF = {ID_TOKEN: {"google_openid", "workload"}, PERSONAL_TOKEN: {"personal_token"}, SPNEGO: {"kerberos"}}
_NO_ACCESS_TOKENS = frozenset({"google_openid", "kerberos"})
# A client that asks again after this time notices that its token was revoked.
_PASSED_ON_S = 3600


def is_whole(identity: Identity) -> bool:
    """Return whether a credential is not limited."""
    return identity.scopes is None or any(str(scope) == ALL for scope in identity.scopes)


def require_fitting(wanted: Exchange | ClientGrant, identity: Identity, audience: str) -> None:
    """Raise unless the accepted credential is of the announced kind, and the request asks for nothing that is unavailable.

    Args:
        wanted: The request.
        identity: Whom the credential stands for.
        audience: Whom our tokens are for.

    Raises:
        TokenRequestRefused: It is not.
    """
    if isinstance(wanted, Exchange):
        _require_exchangeable(wanted, identity)
    else:
        _require_client(wanted, identity)
    if any(name != audience for name in wanted.audiences):
        raise TokenRequestRefused("invalid_target", "audience: tokens are made for one audience here")
    if wanted.scope not in ("", ALL):
        raise TokenRequestRefused("invalid_scope", "scope: cannot be chosen; leave it out")
    if not is_whole(identity) and (wanted.scope == ALL or not may_be_passed_on(wanted, identity)):
        raise TokenRequestRefused("invalid_scope", "the credential is limited, and the new token would not be")


def may_be_passed_on(wanted: TokenRequest, identity: Identity) -> bool:
    """Return whether a limited credential may be the access token: a client's own, or a workload's."""
    return isinstance(wanted, ClientGrant) or (isinstance(wanted, Exchange) and identity.backend == "workload")


def passed_on(shown: GateRequest, identity: Identity) -> Token:
    """Return the credential itself as the access token.

    Raises:
        TokenRequestRefused: It is no token.
    """
    credential = shown.shown.credential()
    if not isinstance(credential, Bearer):
        raise TokenRequestRefused("invalid_request", "the credential is limited, and no token")
    latest = unix_now() + _PASSED_ON_S
    return Token(credential.token, latest if identity.expires_at is None else min(latest, identity.expires_at))


def oauth_content(wanted: Exchange | ClientGrant, token: Token, identity: Identity) -> dict[str, object]:
    """Return the answer (RFC 6749 section 5.1, RFC 8693 section 2.2.1)."""
    scopes = () if is_whole(identity) else identity.scopes or ()
    content: dict[str, object] = {
        "access_token": token.value,
        "token_type": "Bearer",
        "expires_in": max(0, token.expires_at - unix_now()),
        "scope": " ".join(scope_token(str(scope)) for scope in scopes) or ALL,
    }
    if isinstance(wanted, Exchange):
        content["issued_token_type"] = wanted.issued_type
    return content


def _require_exchangeable(wanted: Exchange, identity: Identity) -> None:
    expected = _BACKENDS_OF.get(wanted.subject_type)
    if expected is not None and identity.backend not in expected:
        raise TokenRequestRefused("invalid_request", "subject_token: not of its subject_token_type")
    if wanted.subject_type == ACCESS_TOKEN and identity.backend in _NO_ACCESS_TOKENS:
        raise TokenRequestRefused("invalid_request", "subject_token: not an access token")


def _require_client(wanted: ClientGrant, identity: Identity) -> None:
    if wanted.is_assertion:
        # An access token is no proof of who its bearer is (RFC 8725 section 3.11).
        if identity.backend != "workload":
            raise TokenRequestRefused(wanted.fault, "assertion: not of a workload")
        names = {identity.username, identity.subject}
        if wanted.client_ids and wanted.client_ids.isdisjoint(names):
            raise TokenRequestRefused("invalid_client", "client_id: neither the assertion's subject nor its account")
        return
    if identity.backend != "personal_token" or identity.username not in wanted.client_ids:
        raise TokenRequestRefused("invalid_client", "client_id: not the owner of the token")
