"""Settings of the gateway process, the upstream, and the tokens for the upstream."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from compat_auth.config.connection.settings import HeaderName
from compat_auth.config.fields import (
    Names,
    Prefixes,
    Profile,
    Section,
    Strategy,
    Table,
    Values,
    read_truth,
    split_values,
)

# Airflow 3's; FabAuthManager's, SimpleAuthManager's and KeycloakAuthManager's; Airflow 2's.
_AIRFLOW_LOGOUTS = ("/api/v2/auth/logout", "/auth/logout", "/auth/logout/", "/logout", "/logout/")


class UpstreamSettings(Section):
    """The newer API behind the gateway."""

    url: str = Field(default="", description="Base URL of the upstream, such as http://127.0.0.1:8080.")
    profile: Profile = Field(default="airflow-fab", description="What kind of JWT the upstream expects.")
    protect: Prefixes = Field(
        default=["/api/"],
        min_length=1,
        description="Path prefixes that need authentication; other paths are forwarded.",
    )
    identity_cookies: Values = Field(
        default=["_token", "session", "_access_token", "_refresh_token"],
        description="The upstream's own login cookies, removed from a request once its credential is accepted.",
    )
    script_reads_cookie: bool = Field(
        default=False,
        description="Airflow before 3.1.1: its pages read the login cookie by script, so a login sets it without"
        " HttpOnly.",
    )
    logout_paths: Prefixes = Field(
        default=[],
        description="Complete paths of the upstream's own logout, which also ends our session; empty: those of"
        " Airflow.",
    )
    timeout_s: float = Field(default=60, gt=0, description="Seconds to wait for the first byte of an answer.")
    connect_timeout_s: float = Field(default=5, gt=0, description="Seconds to wait for a connection.")
    idle_timeout_s: float = Field(default=300, gt=0, description="Longest pause within an answer, in seconds.")
    keepalive_s: float = Field(
        default=1.5,
        ge=0,
        le=3600,
        description="Seconds for which an idle connection is kept; must be less than the upstream keeps it.",
    )
    verify: Annotated[bool | str, BeforeValidator(read_truth)] = Field(
        default=True, description="Verify the upstream's certificate: true, false, or a CA file."
    )
    api_v1: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=True, description="Airflow: translate Airflow 2's /api/v1 to the upstream's /api/v2."
    )
    api_v1_deprecation: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=True, description="Answers of /api/v1 have headers that name it deprecated, and its successor."
    )
    roles: Table = Field(
        default={},
        description="airflow-simple: maps user name to role (ADMIN, OP, USER, VIEWER); '*' is everybody else.",
    )
    reads_headers: Annotated[list[HeaderName], BeforeValidator(split_values)] = Field(
        default=[],
        description="Plugin: identity headers that Airflow itself reads, such as X-Forwarded-User for an auth manager of"
        " your own; all others are dropped. The proxy must overwrite them in each request.",
    )

    def logouts(self) -> frozenset[bytes]:
        """Return the complete paths of the upstream's own logout."""
        known = _AIRFLOW_LOGOUTS if self.profile != "generic" else ()
        return frozenset(path.encode("utf-8", "surrogatepass") for path in self.logout_paths or known)


class TokenSettings(Section):
    """How an identity becomes a JWT."""

    strategy: Strategy = Field(default="exchange", description="How to get the upstream's JWT.")
    secret: SecretStr = Field(
        default=SecretStr(""), description="shared_secret: Airflow's [api_auth] jwt_secret, at least 64 bytes."
    )
    key_file: str = Field(default="", description="key_pair: file made by `compat-auth keys create`.")
    algorithm: Literal["", "HS512", "EdDSA", "RS256"] = Field(
        default="", description="Signature algorithm; empty: HS512 for shared_secret, the key's own for key_pair."
    )
    issuer: str = Field(default="", description="`iss`; needed when Airflow's [api_auth] jwt_issuer is set.")
    audience: str = Field(
        default="apache-airflow", min_length=1, description="`aud`; never Airflow's execution audience."
    )
    ttl_s: int = Field(default=600, ge=10, le=3600, description="Lifetime of a token that we sign, in seconds.")
    trusted_jwks: Values = Field(default=[], description="JWKS files whose public keys are published beside ours.")
    claims: Table = Field(
        default={},
        description="generic: maps a claim's name to a template, with {username}, {email}, {subject}, {backend},"
        " {directory}, {upstream_id}; a list is {roles} or {groups} alone.",
    )


class ForwardAuthSettings(Section):
    """Forward-auth: a front proxy asks for decisions. Off unless one of the two keys is set."""

    bind: str = Field(
        default="",
        pattern=r"^((\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5})?$",
        description="Address and port of a listener that answers only front proxies, such as 127.0.0.1:9188.",
    )
    secret: SecretStr = Field(
        default=SecretStr(""),
        description="Secret that the front proxy sends in X-Compat-Auth-Proxy-Secret; at least 32 characters. "
        "With it, [serve] bind answers forward-auth, too.",
    )


class TokenEndpointSettings(Section):
    """`/auth/token`: issues a JWT for a credential that a backend accepts."""

    enabled: bool = Field(
        default=True, description="Answer /auth/token and /auth/token/cli here; false: the upstream answers."
    )
    ttl_s: int = Field(
        default=86400,
        ge=10,
        le=86400,
        description="Lifetime of a token issued at /auth/token, in seconds; like Airflow's jwt_expiration_time.",
    )
    cli_ttl_s: int = Field(
        default=3600,
        ge=10,
        le=86400,
        description="Lifetime of a token issued at /auth/token/cli, in seconds; like Airflow's"
        " jwt_cli_expiration_time.",
    )
    failures_per_minute: int = Field(
        default=20,
        ge=1,
        description="Wrong credentials from one address (IPv6: one /64) before the next one must wait.",
    )
    tokens_per_minute: int = Field(default=120, ge=1, description="Tokens for one user before the next one must wait.")
    introspect_any_of: Values = Field(
        default=[],
        description="Who may introspect others' tokens: requirements as in [[require]], any one of them; empty:"
        " nobody.",
    )
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+/?)?$",
        description="Our public URL, such as https://airflow.example.org; empty: the host of each request. A path"
        " belongs in [serve] root_path.",
    )


class RequireSettings(Section):
    """Requirements of some paths."""

    path: str = Field(pattern="^/", description="Path prefix.")
    methods: Names = Field(default=[], description="Methods in upper case; empty: all.")
    all_of: Names = Field(default=[], description="All of these must hold: role:NAME, group:NAME, backend:NAME, mfa, …")
    any_of: Names = Field(default=[], description="At least one of these must hold; empty: no requirement.")


class Airflow2Settings(Section):
    """Details of mode = "airflow2"."""

    auth_role_public: str = Field(
        default="",
        description="Airflow 2's AUTH_ROLE_PUBLIC: when set, missing or wrong credentials get 403, as in 2.x.",
    )


class ServeSettings(Section):
    """The process."""

    bind: str = Field(default="127.0.0.1:8088", description="Address and port to listen on.")
    tls_cert: str = Field(
        default="",
        description="PEM file with the server's certificate and its chain; empty: plain HTTP, behind a proxy.",
    )
    tls_key: str = Field(default="", description="PEM file with the key of tls_cert, without a passphrase.")
    root_path: str = Field(
        default="",
        pattern=r"^(/|(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?)?$",
        description="Path of our public URL, such as /airflow; empty: the path of an Airflow's [upstream] url; /:"
        " none.",
    )
    fast_protocol: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=True,
        description="Answer and forward requests with a credential that was checked a moment ago in the server's"
        " protocol, at less than half of the CPU; false: every request takes the ordinary way.",
    )
    workers: int = Field(default=1, ge=1, le=64, description="Processes.")
    threads: int = Field(default=16, ge=1, le=256, description="Threads that run backends, in each worker.")
    max_waiting: int = Field(default=256, ge=1, description="Requests that may wait for a backend in each worker.")
    backend_timeout_s: float = Field(default=30, gt=0, description="Seconds for the chain; after that, 503.")
    cache_entries: int = Field(default=10_000, ge=1, description="Verified credentials that each worker caches.")
    max_connections: int = Field(
        default=0,
        ge=0,
        description="Connections in each worker; 0: as many as the limit of open files allows, up to 16384.",
    )
    max_connections_per_address: int = Field(
        default=0,
        ge=0,
        description="Connections from one address (IPv6: one /64) in each worker, except trusted_proxies; 0: half of"
        " all.",
    )
    worker_timeout_s: float = Field(
        default=15, ge=2, description="Seconds without a heartbeat after which a worker is replaced."
    )
    drain_s: float = Field(
        default=2,
        ge=0,
        le=300,
        description="Seconds after SIGTERM in which `ready` answers 503 and new connections are still accepted.",
    )
    watch: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=False,
        description="Reload the configuration when its file changes, or one that it names; false: only on SIGHUP.",
    )
