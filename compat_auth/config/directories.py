"""The settings of directories: where passwords and users live."""

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


class PamSettings(Section):
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


class MappingSettings(Section):
    """A file that says which user of the upstream a name belongs to."""

    file: str = Field(default="", description="TOML file with one [[user]] for each user.")


class LookupSettings(Section):
    """From a vouched-for name to the upstream's user."""

    directories: Names = Field(
        default=[],
        description="airflow_db, ldap or mapping, in the order to ask; empty: airflow_db where its url is set.",
    )
