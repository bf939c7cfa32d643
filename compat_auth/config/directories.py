"""Settings of directories: where users and passwords are kept."""

from __future__ import annotations

from pydantic import Field, SecretStr

from compat_auth.config.fields import Names, Section, Values


class AirflowDatabaseSettings(Section):
    """Airflow's own user tables, read only."""

    url: SecretStr = Field(
        default=SecretStr(""),
        description="SQLAlchemy URL of Airflow's metadata database: SQLite, PostgreSQL, MySQL or MariaDB.",
    )


class HtpasswdSettings(Section):
    """An Apache password file."""

    file: str = Field(default="", description="File made by `compat-auth users add` or `htpasswd -B`.")


class LdapSettings(Section):
    """An LDAP server, or several that hold the same users."""

    url: Values = Field(
        default=[],
        description="ldaps://host or ldap://host, several separated by commas; each is used when those before it fail.",
    )
    start_tls: bool = Field(default=True, description="Encrypt ldap:// with StartTLS before anything else is sent.")
    allow_plaintext: bool = Field(
        default=False, description="Allow unencrypted passwords where start_tls is false; for test set-ups only."
    )
    ca_file: str = Field(default="", description="PEM file of the certificate authorities; empty: the system's.")
    bind_dn: str = Field(default="", description="DN for searches; empty: search anonymously.")
    bind_password: SecretStr = Field(default=SecretStr(""), description="Password of bind_dn.")
    base: str = Field(default="", description="DN below which users are searched, such as ou=people,dc=example,dc=org.")
    user_filter: str = Field(default="(uid={username})", description="Filter that finds a user; {username} is escaped.")
    disabled_filter: str = Field(
        default="",
        description="Filter that finds disabled users, such as (nsAccountLock=TRUE).",
    )
    username_attribute: str = Field(
        default="uid", min_length=1, description="Attribute with the user name as the upstream knows it."
    )
    email_attribute: str = Field(default="mail", description="Attribute with the e-mail address; empty: none.")
    member_of: str = Field(default="", description="Attribute of users with the DNs of their groups, such as memberOf.")
    group_base: str = Field(default="", description="DN below which groups are searched; empty: not searched.")
    group_filter: str = Field(
        default="(member={dn})", description="Filter for a user's groups; {dn} and {username} are escaped."
    )
    roles: dict[str, Names] = Field(
        default={}, description="Maps a group's DN to a role, or several separated by commas."
    )
    timeout_s: float = Field(default=5, gt=0, le=60, description="Seconds to wait for each step of a server.")
    search_connections: int = Field(default=4, ge=1, le=64, description="Connections for searches in each worker.")
    bind_connections: int = Field(default=4, ge=1, le=64, description="Connections for password checks in each worker.")


class PamSettings(Section):
    """Linux-PAM on this machine."""

    service: str = Field(default="", description="Name of the PAM service; use a service file of its own.")
    confdir: str = Field(default="", description="Folder of the service files; empty: the system's (/etc/pam.d).")
    workers: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Processes for PAM in each worker; each wrong password occupies one for a while.",
    )
    timeout_s: float = Field(default=15, gt=0, le=300, description="Seconds to wait for PAM to check a password.")


class MappingSettings(Section):
    """A file that maps names to users of the upstream."""

    file: str = Field(default="", description="TOML file with one [[user]] for each user.")


class LookupSettings(Section):
    """How a verified name becomes a user of the upstream."""

    directories: Names = Field(
        default=[],
        description="airflow_db, ldap or mapping, in the order to ask; empty: airflow_db where its url is set.",
    )
