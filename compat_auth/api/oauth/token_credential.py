"""The credential that a request for a token brings in its body, and whether its sender may have meant it."""

from __future__ import annotations

import base64
from dataclasses import replace

from compat_auth.api.oauth.client_grants import ClientGrant, with_basic
from compat_auth.api.oauth.token_request import JWT, SPNEGO, Ask, Exchange, ForeignGrant, Login, TokenRequest
from compat_auth.credentials import Basic, parse_authorization
from compat_auth.errors import (
    AmbiguousCredentials,
    InvalidToken,
    MalformedCredentials,
    TokenRequestRefused,
)
from compat_auth.http.request import GateRequest
from compat_auth.tokens.jose.jwt import read_unverified

# A page of another site may make a browser ask with its user's ticket or password (W3C Fetch Metadata).
_OWN_SITES = frozenset((b"same-origin", b"none"))


def with_credential_of(wanted: TokenRequest, request: GateRequest) -> GateRequest:
    """Return the request as if the credential in its body were in its headers.

    Raises:
        AmbiguousCredentials: It also has another credential.
        MalformedCredentials: HTTP Basic could not carry the pair (RFC 7617 section 2).
    """
    if isinstance(wanted, (Ask, ForeignGrant)):
        return request
    if isinstance(wanted, ClientGrant):
        value = f"Bearer {wanted.credential}".encode("ascii")
        return replace(request, intake=replace(request.intake, authorization=value, cookies=[]))
    value = basic_value(wanted).encode("ascii") if isinstance(wanted, Login) else _subject(wanted)
    if request.intake.authorization is not None:
        raise AmbiguousCredentials("a credential in the body and one in Authorization; send one")
    return replace(request, intake=replace(request.intake, authorization=value, cookies=[]))


def basic_value(login: Login) -> str:
    """Return the Authorization value of a login.

    Raises:
        MalformedCredentials: HTTP Basic could not carry the pair (RFC 7617 section 2).
    """
    # strict_json and the form's decoder let no half surrogate pair by, so this encodes.
    value = "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode("ascii")
    try:
        if parse_authorization(value) == Basic(login.username, login.password):
            return value
    except MalformedCredentials:
        pass
    raise MalformedCredentials("Invalid credentials")


def _subject(wanted: Exchange) -> bytes:
    if wanted.subject_type == JWT:
        try:
            read_unverified(wanted.subject_token)
        except InvalidToken:
            raise TokenRequestRefused("invalid_request", "subject_token: not a JWT") from None
    scheme = "Negotiate" if wanted.subject_type == SPNEGO else "Bearer"
    return f"{scheme} {wanted.subject_token}".encode("ascii")


def as_client(wanted: TokenRequest, request: GateRequest) -> TokenRequest:
    """Return the request for a token with the client's credential, from the form or the header (RFC 6749 section 2.3.1).

    Raises:
        TokenRequestRefused: A client has shown none, or two, or one that cannot be read.
    """
    if not isinstance(wanted, ClientGrant):
        return wanted
    try:
        return with_basic(wanted, request.shown.credential())
    except (MalformedCredentials, AmbiguousCredentials) as error:
        raise TokenRequestRefused("invalid_client", "Authorization: not one pair of client_id and secret") from error


def is_of_own_site(request: GateRequest) -> bool:
    """Return whether no browser says that another site's page sent the request."""
    found = [value for name, value in request.intake.kept if name == b"sec-fetch-site"]
    return all(value in _OWN_SITES for value in found)


def content_type(request: GateRequest) -> str:
    """Return the one Content-Type; "" if there is none, or more than one."""
    found = [value.decode("latin-1") for name, value in request.intake.kept if name == b"content-type"]
    return found[0] if len(found) == 1 else ""
