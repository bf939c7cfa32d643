"""The settings: one TOML file; each key also as an environment variable, secrets also as files.

A module for each group of sections has their keys (`backends` those of `[kerberos]`, for one); `settings` lists the sections,
`loading` reads them.

Imports: the vocabulary, `crypto`, `airflow2_config` and `compat_auth.errors`.
"""

from compat_auth.config.backends import (
    AirflowSessionSettings,
    BasicAuthSettings,
    KerberosSettings,
    SessionSettings,
    TokenHandlerSettings,
)
from compat_auth.config.connection.settings import (
    CertificateAccountSettings,
    ClientCertificateSettings,
    RemoteUserSettings,
)
from compat_auth.config.directories import (
    AirflowDatabaseSettings,
    HtpasswdSettings,
    LdapSettings,
    LookupSettings,
    MappingSettings,
    PamSettings,
)
from compat_auth.config.fields import Profile
from compat_auth.config.gateway import (
    Airflow2Settings,
    RequireSettings,
    ServeSettings,
    TokenEndpointSettings,
    TokenSettings,
    UpstreamSettings,
)
from compat_auth.config.loading import (
    DEFAULT_FILE,
    ENV_PREFIX,
    find_file,
    load_settings,
    overriding_variables,
    parse_settings,
)
from compat_auth.config.openid import GoogleOpenIdSettings, OidcIssuerSettings, OidcSettings, WorkloadSettings
from compat_auth.config.personal_tokens import PersonalTokenSettings
from compat_auth.config.settings import Settings

__all__ = [
    "DEFAULT_FILE",
    "ENV_PREFIX",
    "Airflow2Settings",
    "AirflowDatabaseSettings",
    "AirflowSessionSettings",
    "BasicAuthSettings",
    "CertificateAccountSettings",
    "ClientCertificateSettings",
    "GoogleOpenIdSettings",
    "HtpasswdSettings",
    "KerberosSettings",
    "LdapSettings",
    "LookupSettings",
    "MappingSettings",
    "OidcIssuerSettings",
    "OidcSettings",
    "PamSettings",
    "PersonalTokenSettings",
    "Profile",
    "RemoteUserSettings",
    "RequireSettings",
    "ServeSettings",
    "SessionSettings",
    "Settings",
    "TokenEndpointSettings",
    "TokenHandlerSettings",
    "TokenSettings",
    "UpstreamSettings",
    "WorkloadSettings",
    "find_file",
    "load_settings",
    "overriding_variables",
    "parse_settings",
]
