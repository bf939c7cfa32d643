"""The grants of programs: a client's secret (RFC 6749 section 4.4), or an assertion (RFC 7523). No I/O, no Flask.

A client may send an assertion more than once; RFC 7523 section 3 leaves this to the server. The same token is valid as a
Bearer until it expires, and a token that is issued for it expires with it. So a limit on its uses here would stop nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from compat_auth.credentials import Absent, Basic, Credential, is_token68, looks_like_personal_token
from compat_auth.errors import InvalidToken, TokenRequestRefused
from compat_auth.tokens.jose.jwt import read_unverified

CLIENT_CREDENTIALS = "client_credentials"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
Fields = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class ClientGrant:
    """A program asks for a token for itself.

    Attributes:
        grant: CLIENT_CREDENTIALS or JWT_BEARER.
        credential: A personal token or an assertion; "" while it is still in the Authorization header.
        client_ids: What the client calls itself, in each reading of it; empty where it does not say.
        is_assertion: The credential is a JWT of the client's platform.
        audiences: Whom the new token is to be for.
        scope: What it is to be limited to.
    """

    grant: str
    credential: str = field(repr=False)
    client_ids: frozenset[str]
    is_assertion: bool
    audiences: tuple[str, ...]
    scope: str

    @property
    def fault(self) -> str:
        """The error code that says that the credential is wrong (RFC 6749 section 5.2, RFC 7521 section 4.1.1)."""
        return "invalid_grant" if self.grant == JWT_BEARER else "invalid_client"


def single(fields: Fields, name: str) -> str:
    """Return the one value of a parameter, or "".

    Raises:
        TokenRequestRefused: It is there more than once.
    """
    values = fields.get(name, [""])
    if len(values) > 1:
        raise TokenRequestRefused("invalid_request", f"{name if name.isascii() else 'a parameter'}: more than once")
    return values[0]


def parse_client_grant(fields: Fields, grant: str) -> ClientGrant:
    """Return the grant that a form asks for.

    Args:
        fields: Of the form.
        grant: CLIENT_CREDENTIALS or JWT_BEARER.

    Raises:
        TokenRequestRefused: It is incomplete, or holds two credentials.
    """
    secret, assertion = single(fields, "client_secret"), single(fields, "assertion")
    client_assertion, kind = single(fields, "client_assertion"), single(fields, "client_assertion_type")
    if sum(map(bool, (secret, assertion, client_assertion))) > 1:
        raise TokenRequestRefused("invalid_request", "two of client_secret, client_assertion and assertion; send one")
    client_id = single(fields, "client_id")
    found = assertion if grant == JWT_BEARER else client_assertion or secret
    is_assertion = grant == JWT_BEARER or bool(client_assertion or kind)
    if grant == JWT_BEARER and not assertion:
        raise TokenRequestRefused("invalid_request", "assertion: missing")
    if grant == CLIENT_CREDENTIALS and assertion:
        raise TokenRequestRefused("invalid_request", "assertion: not of this grant; send client_assertion")
    if grant == CLIENT_CREDENTIALS and is_assertion and kind != CLIENT_ASSERTION:
        raise TokenRequestRefused("invalid_request", f"client_assertion_type: must be {CLIENT_ASSERTION}")
    if is_assertion:
        _require_jwt(found)
    elif secret:
        if not client_id:
            raise TokenRequestRefused("invalid_request", "client_id: missing")
        _require_personal_token(secret)
    audiences = tuple(value for name in ("audience", "resource") for value in fields.get(name, ()))
    ids = frozenset((client_id,)) if client_id else frozenset[str]()
    return ClientGrant(grant, found, ids, is_assertion, audiences, single(fields, "scope"))


def with_basic(wanted: ClientGrant, shown: Credential) -> ClientGrant:
    """Return the grant with the client's credential of the Authorization header, where the form has brought none.

    Raises:
        TokenRequestRefused: There is none, or there are two.
    """
    if wanted.credential:
        if not isinstance(shown, Absent):
            raise TokenRequestRefused("invalid_request", "a credential in the form and one in Authorization; send one")
        return wanted
    if not isinstance(shown, Basic):
        raise TokenRequestRefused(
            "invalid_client", "no secret or assertion of a client; send client_id and client_secret"
        )
    # RFC 6749 2.3.1 encodes both as a form does; many clients do not, and a blank or a plus can be meant either way.
    names = frozenset((shown.username, unquote_plus(shown.username)))
    if wanted.client_ids and wanted.client_ids.isdisjoint(names):
        raise TokenRequestRefused("invalid_request", "client_id: another in the form than in Authorization")
    _require_personal_token(shown.password)
    return ClientGrant(
        wanted.grant, shown.password, names, is_assertion=False, audiences=wanted.audiences, scope=wanted.scope
    )


def _require_jwt(assertion: str) -> None:
    try:
        if is_token68(assertion):
            read_unverified(assertion)
            return
    except InvalidToken:
        pass
    raise TokenRequestRefused("invalid_request", "assertion: not a JWT")


def _require_personal_token(secret: str) -> None:
    # No password of a person's: nobody types one into a program any more, and it would be guessed at here.
    if not is_token68(secret) or not looks_like_personal_token(secret):
        raise TokenRequestRefused(
            "invalid_client", "client_secret: not a personal token; make one for the role account"
        )
