"""The settings: one TOML file, each key also in the environment, secrets also as files.

Precedence: `COMPAT_AUTH_SECTION__KEY`, then `COMPAT_AUTH_SECTION__KEY_FILE`, then the TOML file, then the default.
"""

from __future__ import annotations

import configparser
import difflib
import ipaddress
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from compat_auth.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENV_PREFIX = "COMPAT_AUTH_"
DEFAULT_FILE = "compat_auth.toml"
# Read elsewhere, before there are settings.
_NO_SETTINGS = frozenset((f"{ENV_PREFIX}CONFIG", f"{ENV_PREFIX}LOG_LEVEL"))
Profile = Literal["airflow-fab", "airflow-simple", "generic"]
Strategy = Literal["exchange", "shared_secret", "key_pair"]
IssuerAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
GOOGLE_JWKS_URL = "https://www.googleapis.com/oauth2/v3/certs"


def _split_list(value: object) -> object:
    """Accept Airflow's comma string wherever a list of names is meant."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",")]
    return value


def _split_values(value: object) -> object:
    """Accept a comma string in the environment for any list; an empty one is an empty list."""
    return [] if value == "" else _split_list(value)


def _read_truth(value: object) -> object:
    """Accept the environment's spelling of true and false, which would else pass for the name of a file."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _read_tables(value: object) -> object:
    """Accept a JSON list in the environment where the file has an array of tables."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("in the environment this is a JSON list of objects") from None


def _refuse_everyone(value: str) -> str:
    network = ipaddress.ip_network(value, strict=False)
    if network.prefixlen == 0:
        raise ValueError(f"{value} trusts every address; name the proxies in front")
    return str(network)


def _parse_table(value: object) -> object:
    """Accept a JSON object where a table is meant: names of variables have no case, names of users have."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("not a JSON object") from None


Names = Annotated[list[str], BeforeValidator(_split_list)]
Values = Annotated[list[str], BeforeValidator(_split_values)]
Secrets = Annotated[list[SecretStr], BeforeValidator(_split_values)]
Prefixes = Annotated[list[Annotated[str, Field(pattern="^/")]], BeforeValidator(_split_values)]
Table = Annotated[dict[str, str], BeforeValidator(_parse_table)]
Network = Annotated[str, AfterValidator(_refuse_everyone)]


class _Section(BaseModel):
    # An error that is shown with its cause must not repeat a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class UpstreamSettings(_Section):
    """The newer API behind us."""

    url: str = Field(default="", description="Base URL of the upstream, such as http://127.0.0.1:8080.")
    profile: Profile = Field(default="airflow-fab", description="What kind of JWT the upstream expects.")
    protect: Prefixes = Field(
        default=["/api/"], min_length=1, description="Path prefixes that need a decision; elsewhere requests pass."
    )
    identity_cookies: Values = Field(
        default=["_token", "session"],
        description="The upstream's own login cookies, dropped once a credential is accepted.",
    )
    timeout_s: float = Field(default=60, gt=0, description="Seconds to wait for the first byte of an answer.")
    connect_timeout_s: float = Field(default=5, gt=0, description="Seconds to wait for a connection.")
    idle_timeout_s: float = Field(default=300, gt=0, description="Seconds that an answer may pause between two parts.")
    verify: Annotated[bool | str, BeforeValidator(_read_truth)] = Field(
        default=True, description="Check the upstream's certificate: true, false, or a CA file."
    )
    roles: Table = Field(
        default={}, description="airflow-simple: user name to role (ADMIN, OP, USER, VIEWER); '*' is everybody else."
    )


class TokenSettings(_Section):
    """How an identity becomes a JWT."""

    strategy: Strategy = Field(default="exchange", description="Where the upstream's JWT comes from.")
    secret: SecretStr = Field(
        default=SecretStr(""), description="shared_secret: Airflow's [api_auth] jwt_secret, at least 64 bytes."
    )
    key_file: str = Field(default="", description="key_pair: file made by `compat-auth keys create`.")
    algorithm: Literal["", "HS512", "EdDSA", "RS256"] = Field(
        default="", description="Signature algorithm; empty: HS512 for shared_secret, what the key says for key_pair."
    )
    issuer: str = Field(default="", description="`iss`; needed when Airflow's [api_auth] jwt_issuer is set.")
    audience: str = Field(
        default="apache-airflow", min_length=1, description="`aud`; never Airflow's execution audience."
    )
    ttl_s: int = Field(default=600, ge=10, le=3600, description="Lifetime of a minted token, in seconds.")
    trusted_jwks: Values = Field(default=[], description="JWKS files whose public keys are published beside ours.")
    claims: Table = Field(
        default={},
        description="generic: claim name to template, with {username}, {email}, {subject}, {backend},"
        " {directory}, {upstream_id}; a list is {roles} or {groups} alone.",
    )


class BasicAuthSettings(_Section):
    """User names and passwords."""

    directories: Names = Field(default=["upstream"], description="Where passwords are checked, in this order.")
    cache_ttl_s: float = Field(
        default=60, ge=0, le=600, description="Seconds for which a checked password is believed."
    )
    realm: str = Field(
        default="Airflow", pattern=r"^[\x20-\x21\x23-\x5b\x5d-\x7e]+$", description="Realm in the challenge."
    )
    max_hashes: int = Field(
        default=0, ge=0, description="Password hashes at once in all workers; 0 means one for each core."
    )
    max_waiting: int = Field(default=64, ge=1, description="Password checks that may wait in a worker; beyond: 503.")


class AirflowDatabaseSettings(_Section):
    """Airflow's own user tables, read only."""

    url: SecretStr = Field(default=SecretStr(""), description="SQLAlchemy URL of Airflow's metadata database.")


class HtpasswdSettings(_Section):
    """An Apache password file."""

    file: str = Field(default="", description="File made by `compat-auth users add` or `htpasswd -B`.")


class AirflowSessionSettings(_Section):
    """The login cookie `session` of Airflow 2's UI, or of Airflow 3's with FabAuthManager, at the backend `session`."""

    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Airflow's [webserver] secret_key (2.x) or [api] secret_key (3.x); empty: the cookie is not looked at.",
    )
    cookie_name: str = Field(default="session", min_length=1, description="Name of Airflow's cookie.")
    lifetime_s: int = Field(
        default=2592000,
        ge=60,
        description="session_backend = securecookie: seconds; Airflow's session_lifetime_minutes.",
    )


class SessionSettings(_Section):
    """Our own login session; without a secret there is none, and no login page."""

    secret: SecretStr = Field(
        default=SecretStr(""), description="Seals the session cookie; at least 32 bytes, the same in every replica."
    )
    secrets: Secrets = Field(default=[], description="Instead of secret, to rotate: newest first, then the older ones.")
    idle_s: int = Field(
        default=604800, ge=60, description="Seconds without a request after which a session ends (a week)."
    )
    max_age_s: int = Field(
        default=2592000, ge=60, description="Seconds after login at which it ends however busy it is (30 days)."
    )
    cookie_name: str = Field(
        default="compat_auth_session",
        pattern=r"^[A-Za-z][A-Za-z0-9_-]*$",
        description="Name of the cookie on plain HTTP; on HTTPS `__Host-` stands before it.",
    )


class LdapSettings(_Section):
    """An LDAP server, or several that hold the same users."""

    url: Values = Field(
        default=[],
        description="ldaps://host or ldap://host, several by comma; each is asked when those before it fail.",
    )
    start_tls: bool = Field(default=True, description="Encrypt ldap:// by StartTLS before anything is sent.")
    allow_plaintext: bool = Field(
        default=False, description="Send passwords unencrypted where start_tls is false; for test set-ups."
    )
    ca_file: str = Field(default="", description="PEM file of the certificate authority; empty: the system's.")
    bind_dn: str = Field(default="", description="DN that may search; empty: search anonymously.")
    bind_password: SecretStr = Field(default=SecretStr(""), description="Password of bind_dn.")
    base: str = Field(default="", description="DN below which the users are, such as ou=people,dc=example,dc=org.")
    user_filter: str = Field(default="(uid={username})", description="Which entry is the user; {username} is escaped.")
    disabled_filter: str = Field(
        default="",
        description="A user's entry that matches is refused, such as (nsAccountLock=TRUE).",
    )
    username_attribute: str = Field(
        default="uid", min_length=1, description="Attribute with the user's name as the upstream spells it."
    )
    email_attribute: str = Field(default="mail", description="Attribute with the e-mail address; empty: none.")
    member_of: str = Field(default="", description="Attribute of a user with the DNs of the groups, such as memberOf.")
    group_base: str = Field(default="", description="DN below which groups are searched; empty: not searched.")
    group_filter: str = Field(default="(member={dn})", description="Groups of a user; {dn} and {username} are escaped.")
    roles: dict[str, Names] = Field(default={}, description="Group DN to role name, or to several by comma.")
    timeout_s: float = Field(default=5, gt=0, le=60, description="Seconds that a server may take for one step.")
    search_connections: int = Field(default=4, ge=1, le=64, description="Connections for searches, in each worker.")
    bind_connections: int = Field(
        default=4, ge=1, le=64, description="Connections for password checks, in each worker."
    )


class PamSettings(_Section):
    """Linux-PAM on this machine."""

    service: str = Field(default="", description="Name of the service file that decides; a file of its own.")
    confdir: str = Field(default="", description="Folder of the service files; empty: the system's (/etc/pam.d).")
    workers: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Processes that ask PAM, in each worker; one is held for each wrong password.",
    )
    timeout_s: float = Field(default=15, gt=0, le=300, description="Seconds that PAM may take for one password.")


class MappingSettings(_Section):
    """A file that says which user of the upstream a name belongs to."""

    file: str = Field(default="", description="TOML file with one [[user]] for each user.")


class KerberosSettings(_Section):
    """Tickets of a Kerberos realm."""

    keytab: str = Field(default="", description="File with our keys, made by `kadmin -q 'ktadd -k FILE HTTP/HOST'`.")
    service: Names = Field(
        default=["HTTP"], description="Services that tickets may be for; Airflow 2's clients ask for airflow."
    )
    realms: Values = Field(default=[], description="Realms whose users may come in; empty: the one of our own keys.")
    name_mapping: str = Field(
        default="strip_realm",
        description="From principal to user: strip_realm, full, auth_to_local (krb5.conf), or regex=replacement;….",
    )
    replay_cache: str = Field(
        default="", description="File in which a host's workers remember tokens; empty: MIT's own for this user."
    )
    timeout_s: float = Field(default=10, gt=0, description="Directory kinit: seconds that the KDC may take.")


class TokenHandlerSettings(_Section):
    """A site's own bearer tokens."""

    handler: str = Field(
        default="", description='Function that turns a token into a session: "package.module:function".'
    )


class LookupSettings(_Section):
    """From a vouched-for name to the upstream's user."""

    directories: Names = Field(
        default=[],
        description="airflow_db, ldap or mapping, in the order to ask; empty: airflow_db where its url is set.",
    )


class GoogleOpenIdSettings(_Section):
    """ID tokens of Google accounts."""

    audience: Values = Field(default=[], description="Client ids that tokens must be meant for; any one of them.")
    authorized_parties: Values = Field(
        default=[], description="Further client ids that may have asked for the token (`azp`), such as a phone app's."
    )
    hosted_domains: Values = Field(
        default=[], description="Workspace domains (`hd`) to let in; empty: whoever the look-up knows."
    )
    service_accounts: Values = Field(
        default=[], description="E-mail addresses of service accounts to let in although they have no domain (`hd`)."
    )
    subjects: dict[str, str] = Field(
        default={}, description="Pinned accounts: Google's `sub` to the name that is looked up, whatever the e-mail."
    )
    jwks_url: str = Field(default=GOOGLE_JWKS_URL, description="Where Google publishes its keys.")
    ca_file: str = Field(default="", description="PEM file of the authorities for jwks_url; empty: the system's.")


class OidcIssuerSettings(_Section):
    """One issuer of access tokens."""

    issuer: str = Field(min_length=1, description="`iss`, exactly; its discovery document must say the same.")
    audience: Values = Field(default=[], description="Whom tokens must be meant for (`aud`); any one of them.")
    clients: Values = Field(default=[], description="Client ids whose tokens are believed; empty: every client's.")
    scope: str = Field(default="", description="Scopes that a token must have, separated by spaces.")
    username_claim: str = Field(
        default="sub",
        min_length=1,
        description="Claim with the user name; `email` is looked up as an address, where it is verified.",
    )
    subjects: dict[str, str] = Field(
        default={},
        description="Pinned accounts, and machines: `sub` to the name that is looked up, whatever the claim says.",
    )
    algorithms: Annotated[list[IssuerAlgorithm], BeforeValidator(_split_values)] = Field(
        default=["RS256", "PS256", "ES256", "EdDSA"], min_length=1, description="What the issuer may sign with."
    )
    types: Values = Field(
        default=["at+jwt", "application/at+jwt"],
        min_length=1,
        description="`typ` of its JWTs (RFC 9068); add JWT, or an empty text for none, where the issuer does not follow.",
    )
    jwks_url: str = Field(default="", description="Where its keys are; empty: what its discovery document says.")
    introspection: Annotated[bool | str, BeforeValidator(_read_truth)] = Field(
        default=False, description="Ask about opaque tokens (RFC 7662): true for the discovered endpoint, or a URL."
    )
    userinfo: Annotated[bool | str, BeforeValidator(_read_truth)] = Field(
        default=False,
        description="Show opaque tokens to UserInfo where there is no introspection: true, or a URL. Weaker: it tells"
        " neither audience nor scope.",
    )
    liveness: bool = Field(default=False, description="Show JWTs to UserInfo too, so that a revoked one is noticed.")
    client_id: str = Field(default="", description="Our own client id at the issuer, for introspection.")
    client_secret: SecretStr = Field(default=SecretStr(""), description="Our client's secret.")
    client_secret_file: str = Field(default="", description="File with our client's secret.")
    opaque_prefix: str = Field(
        default="", description="How its opaque tokens begin; empty: every Bearer that is not a JWT is shown to it."
    )
    ca_file: str = Field(default="", description="PEM file of the authorities for its URLs; empty: the system's.")


class OidcSettings(_Section):
    """Access tokens of OpenID Connect and OAuth issuers."""

    issuers: Annotated[list[OidcIssuerSettings], BeforeValidator(_read_tables)] = Field(
        default=[], description="An issuer of access tokens; one table for each."
    )
    cache_ttl_s: float = Field(
        default=600, ge=0, le=600, description="Seconds for which an issuer's answer about a token is believed."
    )
    cache_entries: int = Field(default=10_000, ge=1, description="Answers remembered, for each issuer and worker.")


class RequireSettings(_Section):
    """What some paths ask of an identity."""

    path: str = Field(pattern="^/", description="Path prefix.")
    methods: Names = Field(default=[], description="Methods in upper case; empty: all.")
    all_of: Names = Field(default=[], description="All of these must hold: role:NAME, group:NAME, backend:NAME, mfa, …")
    any_of: Names = Field(default=[], description="At least one of these must hold, unless it is empty.")


class Airflow2Settings(_Section):
    """Details of mode = "airflow2"."""

    auth_role_public: str = Field(
        default="",
        description="Airflow 2's AUTH_ROLE_PUBLIC: when set, missing or wrong credentials are 403, as in 2.x.",
    )


class ServeSettings(_Section):
    """The process."""

    bind: str = Field(default="127.0.0.1:8088", description="Address and port to listen on.")
    workers: int = Field(default=1, ge=1, le=64, description="Processes.")
    threads: int = Field(default=16, ge=1, le=256, description="Backends at work at once, in each worker.")
    max_waiting: int = Field(default=256, ge=1, description="Requests that may wait for a backend, in each worker.")
    backend_timeout_s: float = Field(default=30, gt=0, description="Seconds that the chain may take before 503.")
    cache_entries: int = Field(default=10_000, ge=1, description="Verified credentials remembered, in each worker.")


class Settings(_Section):
    """Everything that can be configured."""

    auth_backends: Names = Field(
        default=["session", "basic_auth"], description="The chain, in order; Airflow 2's comma string works as it is."
    )
    airflow_cfg: str = Field(default="", description="An airflow.cfg to read [api] or [fab] auth_backends from.")
    mode: Literal["strict", "airflow2"] = Field(default="strict", description="How refusals look.")
    database_url: SecretStr = Field(
        default=SecretStr("sqlite:///compat_auth.db"),
        description="Where sessions and what else must outlive a process are kept: sqlite:///FILE or postgresql+psycopg://….",
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""), description="Will hold what several replicas share; nothing is shared yet."
    )
    trusted_proxies: Annotated[list[Network], BeforeValidator(_split_values)] = Field(
        default=[], description="Networks whose X-Forwarded-* and forward-auth are believed."
    )
    prefix: str = Field(
        default="/compat-auth/", pattern=r"^/([A-Za-z0-9_-]+/)+$", description="Where our own pages live."
    )
    upstream: UpstreamSettings = Field(default_factory=UpstreamSettings, description="See [upstream].")
    token: TokenSettings = Field(default_factory=TokenSettings, description="See [token].")
    basic_auth: BasicAuthSettings = Field(default_factory=BasicAuthSettings, description="See [basic_auth].")
    airflow_db: AirflowDatabaseSettings = Field(
        default_factory=AirflowDatabaseSettings, description="See [airflow_db]."
    )
    htpasswd: HtpasswdSettings = Field(default_factory=HtpasswdSettings, description="See [htpasswd].")
    airflow_session: AirflowSessionSettings = Field(
        default_factory=AirflowSessionSettings, description="See [airflow_session]."
    )
    session: SessionSettings = Field(default_factory=SessionSettings, description="See [session].")
    ldap: LdapSettings = Field(default_factory=LdapSettings, description="See [ldap].")
    pam: PamSettings = Field(default_factory=PamSettings, description="See [pam].")
    mapping: MappingSettings = Field(default_factory=MappingSettings, description="See [mapping].")
    kerberos: KerberosSettings = Field(default_factory=KerberosSettings, description="See [kerberos].")
    token_handler: TokenHandlerSettings = Field(
        default_factory=TokenHandlerSettings, description="See [token_handler]."
    )
    require: list[RequireSettings] = Field(default=[], description="What paths ask of an identity; see [[require]].")
    lookup: LookupSettings = Field(default_factory=LookupSettings, description="See [lookup].")
    google_openid: GoogleOpenIdSettings = Field(
        default_factory=GoogleOpenIdSettings, description="See [google_openid]."
    )
    oidc: OidcSettings = Field(default_factory=OidcSettings, description="See [oidc].")
    airflow2: Airflow2Settings = Field(default_factory=Airflow2Settings, description="See [airflow2].")
    serve: ServeSettings = Field(default_factory=ServeSettings, description="See [serve].")
    backends: dict[str, dict[str, Any]] = Field(default={}, description="Settings of third-party backends, by name.")


def load_settings(path: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a TOML file and the environment.

    Args:
        path: The file; None means `$COMPAT_AUTH_CONFIG`, else `./compat_auth.toml` where it exists, else none.
        environ: The environment; None means the process's own.

    Raises:
        ConfigError: A file cannot be read, a key is unknown, or a value is out of range; says where and what to do.
    """
    environ = os.environ if environ is None else environ
    path = path or environ.get(f"{ENV_PREFIX}CONFIG") or (DEFAULT_FILE if Path(DEFAULT_FILE).is_file() else None)
    content = _read_toml(Path(path)) if path else {}
    origin = path or "defaults"
    _merge(content, _from_environment(environ))
    if "auth_backends" not in content:
        _adopt_airflow_list(content, environ)
    return parse_settings(content, origin=origin)


def parse_settings(content: Mapping[str, Any], *, origin: str) -> Settings:
    """Return the settings that a mapping spells out, sections as mappings in it.

    Raises:
        ConfigError: A key is unknown or a value is out of range; says where, by the origin's name, and what to do.
    """
    try:
        return Settings.model_validate(content)
    except ValidationError as exc:
        raise ConfigError("\n".join(_explain(origin, error) for error in exc.errors())) from exc


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read ({exc}); pass --config or set {ENV_PREFIX}CONFIG") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not TOML: {exc}") from exc


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # Files first, so that the plain variable of the same key wins.
    for name, text in sorted(environ.items(), key=lambda item: not item[0].endswith("_FILE")):
        if not name.startswith(ENV_PREFIX) or name in _NO_SETTINGS:
            continue
        *sections, key = name.removeprefix(ENV_PREFIX).lower().split("__")
        value = text
        if key.endswith("_file") and _is_secret([*sections, key.removesuffix("_file")]):
            key = key.removesuffix("_file")
            try:
                value = Path(text).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as exc:
                raise ConfigError(f"{name}: {text}: cannot be read ({exc})") from exc
        place = found
        for section in sections:
            inner: object = place.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{name}: {section} is set as a text too; unset one of the two")
            place = cast("dict[str, Any]", cast("object", inner))
        if isinstance(place.get(key), dict):
            raise ConfigError(f"{name}: {key} is a section, and keys in it are set too; unset one of the two")
        place[key] = value
    return found


def _section_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the model of a section, or None where the name is no section."""
    kind = model.model_fields[name].annotation if name in model.model_fields else None
    # Python 3.10 takes list[str] for a class, which issubclass() then refuses.
    if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, BaseModel):
        return kind
    return None


def _tables_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the model of a section that may be there several times, or None."""
    kind = model.model_fields[name].annotation if name in model.model_fields else None
    (inner,) = get_args(kind) if get_origin(kind) is list else (None,)
    return inner if isinstance(inner, type) and get_origin(inner) is None and issubclass(inner, BaseModel) else None


def _is_secret(path: list[str]) -> bool:
    model: type[BaseModel] = Settings
    *sections, key = path
    for section in sections:
        inner = _section_of(model, section)
        if inner is None:
            return False
        model = inner
    return key in model.model_fields and model.model_fields[key].annotation is SecretStr


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], cast("Mapping[str, Any]", value))
        else:
            base[key] = value


def _adopt_airflow_list(content: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Take the chain from where Airflow 2 had it, so that an old deployment needs no new list."""
    cfg = content.get("airflow_cfg")
    if isinstance(cfg, str) and cfg:
        parser = configparser.RawConfigParser(strict=False)
        try:
            with Path(cfg).open(encoding="utf-8") as lines:
                parser.read_file(lines)
        except (OSError, UnicodeDecodeError, configparser.Error) as exc:
            raise ConfigError(f"airflow_cfg: {cfg}: cannot be read ({exc})") from exc
        for section in ("api", "fab"):
            if parser.has_option(section, "auth_backends"):
                content["auth_backends"] = parser.get(section, "auth_backends")
                return
        raise ConfigError(f"airflow_cfg: {cfg}: no auth_backends in [api] or [fab]; set auth_backends here")
    for variable in ("AIRFLOW__API__AUTH_BACKENDS", "AIRFLOW__FAB__AUTH_BACKENDS"):
        if environ.get(variable):
            content["auth_backends"] = environ[variable]
            return


def _explain(origin: str, error: Any) -> str:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    variable = ENV_PREFIX + "__".join(path).upper()
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path[-1], _known_keys(path[:-1]), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(_known_keys(path[:-1]))}"
        return f"{origin}: {key} (or ${variable}): no such setting; {hint}"
    return f"{origin}: {key} (or ${variable}): {error['msg']}"


def _known_keys(path: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for section in path:
        if section.isdigit():  # which table of an array
            continue
        inner = _section_of(model, section) or _tables_of(model, section)
        if inner is None:
            return []
        model = inner
    return sorted(model.model_fields)
