"""All settings, section by section."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr

from compat_auth.config.backends import (
    Airflow2ModuleSettings,
    AirflowSessionSettings,
    BasicAuthSettings,
    KerberosSettings,
    SessionSettings,
    TokenHandlerSettings,
)
from compat_auth.config.connection.settings import ClientCertificateSettings, RemoteUserSettings
from compat_auth.config.directories import (
    AirflowDatabaseSettings,
    HtpasswdSettings,
    LdapSettings,
    LookupSettings,
    MappingSettings,
    PamSettings,
)
from compat_auth.config.do_as import DoAsSettings
from compat_auth.config.fields import Names, Network, Section, read_tables, split_values
from compat_auth.config.gateway import (
    Airflow2Settings,
    ForwardAuthSettings,
    RequireSettings,
    ServeSettings,
    TokenEndpointSettings,
    TokenSettings,
    UpstreamSettings,
)
from compat_auth.config.openid import GoogleOpenIdSettings, OidcSettings, WorkloadSettings
from compat_auth.config.pages.settings import PageSettings
from compat_auth.config.personal_tokens import PersonalTokenSettings
from compat_auth.config.stages.settings import StagesSettings
from compat_auth.config.tasks import AirflowTaskSettings
from compat_auth.config.telemetry.settings import (
    AuditSettings,
    LogSettings,
    MetricsSettings,
    TracingSettings,
    UsageSettings,
)
from compat_auth.crypto.aead import MIN_SECRET_BYTES
from compat_auth.errors import ConfigError


class Settings(Section):
    """All settings."""

    auth_backends: Names = Field(
        default=["session", "basic_auth"],
        description="The chain of backends, in order; Airflow 2's comma-separated string works.",
    )
    airflow_cfg: str = Field(
        default="", description="An airflow.cfg from which to read auth_backends and their settings."
    )
    mode: Literal["strict", "airflow2"] = Field(default="strict", description="Style of error responses.")
    database_url: SecretStr = Field(
        default=SecretStr("sqlite:///compat_auth.db"),
        description="Store for sessions and revocations: sqlite:///FILE or postgresql+psycopg://….",
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""),
        description="Redis that replicas share: rediss://:PASSWORD@HOST:6379 (TLS), redis:// or unix://; empty: none.",
    )
    redis_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Encrypts what is shared in Redis; at least 32 bytes, the same in every replica; empty: [session]"
        " secret.",
    )
    trusted_proxies: Annotated[list[Network], BeforeValidator(split_values)] = Field(
        default=[], description="Networks of proxies whose X-Forwarded-* and forward-auth requests are trusted."
    )
    prefix: str = Field(default="/compat-auth/", pattern=r"^/([A-Za-z0-9_-]+/)+$", description="Path of our own pages.")
    upstream: UpstreamSettings = Field(default_factory=UpstreamSettings, description="See [upstream].")
    token: TokenSettings = Field(default_factory=TokenSettings, description="See [token].")
    token_endpoint: TokenEndpointSettings = Field(
        default_factory=TokenEndpointSettings, description="See [token_endpoint]."
    )
    forward_auth: ForwardAuthSettings = Field(default_factory=ForwardAuthSettings, description="See [forward_auth].")
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
    require: list[RequireSettings] = Field(default=[], description="Requirements of paths; see [[require]].")
    do_as: list[DoAsSettings] = Field(default=[], description="Callers who may act for users; see [[do_as]].")
    lookup: LookupSettings = Field(default_factory=LookupSettings, description="See [lookup].")
    google_openid: GoogleOpenIdSettings = Field(
        default_factory=GoogleOpenIdSettings, description="See [google_openid]."
    )
    pages: PageSettings = Field(default_factory=PageSettings, description="See [pages].")
    personal_tokens: PersonalTokenSettings = Field(
        default_factory=PersonalTokenSettings, description="See [personal_tokens]."
    )
    airflow_task: AirflowTaskSettings = Field(default_factory=AirflowTaskSettings, description="See [airflow_task].")
    oidc: OidcSettings = Field(default_factory=OidcSettings, description="See [oidc].")
    workloads: Annotated[list[WorkloadSettings], BeforeValidator(read_tables)] = Field(
        default=[], description="Which tokens of a platform act as which account."
    )
    remote_user: RemoteUserSettings = Field(default_factory=RemoteUserSettings, description="See [remote_user].")
    client_certificate: ClientCertificateSettings = Field(
        default_factory=ClientCertificateSettings, description="See [client_certificate]."
    )
    airflow2_modules: Airflow2ModuleSettings = Field(
        default_factory=Airflow2ModuleSettings, description="See [airflow2_modules]."
    )
    airflow2: Airflow2Settings = Field(default_factory=Airflow2Settings, description="See [airflow2].")
    log: LogSettings = Field(default_factory=LogSettings, description="See [log].")
    tracing: TracingSettings = Field(default_factory=TracingSettings, description="See [tracing].")
    metrics: MetricsSettings = Field(default_factory=MetricsSettings, description="See [metrics].")
    audit: AuditSettings = Field(default_factory=AuditSettings, description="See [audit].")
    usage: UsageSettings = Field(default_factory=UsageSettings, description="See [usage].")
    stages: StagesSettings = Field(default_factory=StagesSettings, description="See [stages].")
    serve: ServeSettings = Field(default_factory=ServeSettings, description="See [serve].")
    backends: dict[str, dict[str, Any]] = Field(default={}, description="Settings of third-party backends, by name.")


def sharing_secrets(settings: Settings) -> tuple[str, ...]:
    """Return the secrets that all replicas share: `redis_secret`, or those of `[session]`; newest first.

    Raises:
        ConfigError: There is none, or one is too short.
    """
    own, section = settings.redis_secret.get_secret_value(), settings.session
    sessions = [section.secret, *section.secrets]
    secrets = (own,) if own else tuple(filter(None, (secret.get_secret_value() for secret in sessions)))
    if not secrets:
        raise ConfigError(
            "redis_url: shared data is encrypted, and there is no secret to encrypt it with; set redis_secret, the "
            "same in every replica: make one with: openssl rand -base64 48"
        )
    for secret in secrets:
        size = len(secret.encode("utf-8", "surrogatepass"))
        if size < MIN_SECRET_BYTES:
            name = "redis_secret" if own else "session.secret"
            raise ConfigError(
                f"{name}: {size} bytes; needs at least {MIN_SECRET_BYTES}: make one with: openssl rand -base64 48"
            )
    return secrets
