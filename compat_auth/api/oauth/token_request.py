"""The request at `/auth/token`: Airflow's own login, or a grant of OAuth (RFC 6749, 7523, 8693). No I/O, no Flask."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from compat_auth.api.oauth.client_grants import (
    CLIENT_CREDENTIALS,
    JWT_BEARER,
    ClientGrant,
    parse_client_grant,
    single,
)
from compat_auth.credentials import is_token68
from compat_auth.crypto.strict_json import parse_object
from compat_auth.errors import BadRequest, IncompleteLogin, TokenRequestRefused, UnsupportedMediaType

EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_TYPE = "urn:ietf:params:oauth:token-type:"
ACCESS_TOKEN, ID_TOKEN, JWT = f"{_TYPE}access_token", f"{_TYPE}id_token", f"{_TYPE}jwt"
# RFC 8693 3 lets others name their own kinds by a URI.
PERSONAL_TOKEN = "urn:x-compat-auth:token-type:personal-token"  # noqa: S105  # a name
SPNEGO = "urn:x-compat-auth:token-type:spnego"
SUBJECT_TYPES = frozenset({ACCESS_TOKEN, ID_TOKEN, JWT, PERSONAL_TOKEN, SPNEGO})
MAX_BODY_BYTES = 64 * 1024
_MAX_FIELDS = 20
# RFC 8693 2.1: of all parameters only these may stand there more than once.
_REPEATABLE = frozenset({"audience", "resource"})


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for a token for the owner of the request's own credential: the body says nothing else.

    Attributes:
        is_empty: The request had no body.
    """

    is_empty: bool


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and a password in the body, neither of them empty."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A token exchange.

    Attributes:
        subject_token: The token to exchange.
        subject_type: One of SUBJECT_TYPES.
        audiences: The audiences of the new token; empty: all that we make tokens for.
        scope: The limit of the new token; "" is no limit.
        issued_type: ACCESS_TOKEN or JWT, as asked for.
    """

    subject_token: str = field(repr=False)
    subject_type: str
    audiences: tuple[str, ...]
    scope: str
    issued_type: str


@dataclass(frozen=True, slots=True)
class ForeignGrant:
    """A grant in JSON that only the upstream may know, such as `client_credentials` of KeycloakAuthManager."""


TokenRequest = Ask | Login | Exchange | ClientGrant | ForeignGrant


def parse_token_request(content_type: str, body: bytes) -> TokenRequest:
    """Return the request that the body contains.

    Raises:
        IncompleteLogin, UnsupportedMediaType: See these classes.
        TokenRequestRefused: A parameter of OAuth is wrong.
        BadRequest: The body can be read in two ways, or in none.
    """
    if not body:
        return Ask(is_empty=True)
    match content_type.partition(";")[0].strip().lower():
        case "application/json":
            return _json_request(_json(body))
        case "application/x-www-form-urlencoded":
            return _form_request(_form(body))
        case _:
            raise UnsupportedMediaType("body: neither application/json nor application/x-www-form-urlencoded")


def parse_form(content_type: str, body: bytes) -> dict[str, str]:
    """Return the fields of a form, in which none may be there twice (RFC 6749 section 3.2).

    Raises:
        TokenRequestRefused: It is not such a form.
    """
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise TokenRequestRefused("invalid_request", "body: not application/x-www-form-urlencoded")
    try:
        fields = _form(body)
    except BadRequest as error:
        raise TokenRequestRefused("invalid_request", str(error)) from None
    return {name: single(fields, name) for name in fields}


def _json(body: bytes) -> dict[str, object]:
    try:
        return parse_object(body)
    except ValueError as exc:
        raise BadRequest(f"body: JSON: {exc}") from None


def _form(body: bytes) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:
        raise BadRequest("body: not a form, or one with too many fields") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def _json_request(found: dict[str, object]) -> Ask | Login | ForeignGrant:
    wanted = _login(found)
    grant = found.get("grant_type")
    # A token exchange is a form (RFC 8693 section 2.1).
    is_foreign = isinstance(grant, str) and grant not in ("password", EXCHANGE_GRANT)
    return ForeignGrant() if isinstance(wanted, Ask) and is_foreign else wanted


def _login(found: dict[str, object]) -> Ask | Login:
    if "username" not in found and "password" not in found:
        return Ask(is_empty=False)
    username, password = found.get("username"), found.get("password")
    if not isinstance(username, str) or not isinstance(password, str) or not username or not password:
        raise IncompleteLogin("Username and password must be provided")
    return Login(username, password)


def _form_request(fields: dict[str, list[str]]) -> TokenRequest:
    match fields.get("grant_type"):
        # What the Authorize box of Airflow's own API documentation sends.
        case None | ["password"]:
            for name in ("username", "password"):
                if len(fields.get(name, ())) > 1:
                    raise BadRequest(f"body: {name} twice")
            return _login({name: values[0] for name, values in fields.items()})
        case [grant] if grant == EXCHANGE_GRANT:
            return _exchange(fields)
        case [grant] if grant in (CLIENT_CREDENTIALS, JWT_BEARER):
            return parse_client_grant(fields, grant)
        case [_]:
            raise TokenRequestRefused(
                "unsupported_grant_type", "grant_type: only client_credentials, jwt-bearer and token-exchange"
            )
        case _:
            raise TokenRequestRefused("invalid_request", "grant_type: more than once")


def _exchange(fields: dict[str, list[str]]) -> Exchange:
    subject_type = single(fields, "subject_token_type")
    subject_token = single(fields, "subject_token")
    if subject_type not in SUBJECT_TYPES:
        raise TokenRequestRefused("invalid_request", "subject_token_type: missing or unknown")
    if not is_token68(subject_token):
        raise TokenRequestRefused("invalid_request", "subject_token: missing or not a token")
    if "actor_token" in fields or "actor_token_type" in fields:
        raise TokenRequestRefused("invalid_request", "actor_token: nobody acts for another here")
    issued_type = single(fields, "requested_token_type") or ACCESS_TOKEN
    if issued_type not in (ACCESS_TOKEN, JWT):
        raise TokenRequestRefused("invalid_request", "requested_token_type: only access_token or jwt")
    audiences = tuple(value for name in sorted(_REPEATABLE) for value in fields.get(name, ()))
    return Exchange(subject_token, subject_type, audiences, single(fields, "scope"), issued_type)
