"""Settings of the backends for passwords, Kerberos tickets, cookies and a site's own tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from compat_auth.config.fields import Names, Networks, Secrets, Section, Table, Values


class BasicAuthSettings(Section):
    """Users with passwords."""

    directories: Names = Field(default=["upstream"], description="Directories that check passwords, in this order.")
    cache_ttl_s: float = Field(default=60, ge=0, le=600, description="Seconds for which a verified password is cached.")
    realm: str = Field(
        default="Airflow", pattern=r"^[\x20-\x21\x23-\x5b\x5d-\x7e]+$", description="Realm in the challenge."
    )
    max_hashes: int = Field(
        default=0, ge=0, description="Password hashes at once in all workers; 0: one for each core."
    )
    max_waiting: int = Field(default=64, ge=1, description="Password checks that may wait in a worker; more get 503.")


class AirflowSessionSettings(Section):
    """The login cookie `session` of Airflow 2, or of Airflow 3 with FabAuthManager, for the backend `session`."""

    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Airflow's [webserver] secret_key (2.x) or [api] secret_key (3.x); empty: the cookie is not read.",
    )
    cookie_name: str = Field(default="session", min_length=1, description="Name of Airflow's cookie.")
    lifetime_s: int = Field(
        default=2592000,
        ge=60,
        description="session_backend = securecookie: lifetime in seconds; Airflow's session_lifetime_minutes.",
    )


class SessionSettings(Section):
    """Our own login session; without a secret there is no session and no login page."""

    secret: SecretStr = Field(
        default=SecretStr(""), description="Encrypts the session cookie; at least 32 bytes, the same in every replica."
    )
    secrets: Secrets = Field(default=[], description="Replaces secret, for rotation: newest first, then older ones.")
    idle_s: int = Field(
        default=604800, ge=60, description="Seconds without a request after which a session expires (a week)."
    )
    max_age_s: int = Field(
        default=2592000, ge=60, description="Seconds after login when a session expires even if it is in use (30 days)."
    )
    cookie_name: str = Field(
        default="compat_auth_session",
        pattern=r"^[A-Za-z][A-Za-z0-9_-]*$",
        description="Name of the cookie on plain HTTP; on HTTPS it has the prefix `__Host-`.",
    )
    login: Literal["", "ours", "upstream"] = Field(
        default="",
        description="Where browsers log in. ours: on our page, also when the upstream redirects to its own; the"
        " upstream's login cookie is renewed while our session lasts. upstream: never redirected to our page. Empty:"
        " redirected to our page instead of a 401.",
    )


class KerberosSettings(Section):
    """Tickets of a Kerberos realm."""

    keytab: str = Field(default="", description="File with our keys, made by `kadmin -q 'ktadd -k FILE HTTP/HOST'`.")
    service: Values = Field(
        default=["HTTP"], description="Services that tickets may be for; Airflow 2's clients request airflow."
    )
    service_if_keyed: Values = Field(
        default=[], description="More services that tickets may be for, each accepted once the keytab has a key for it."
    )
    realms: Values = Field(default=[], description="Realms whose users are accepted; empty: the realm of our keys.")
    name_mapping: str = Field(
        default="strip_realm",
        description="Maps principal to user: strip_realm, full, auth_to_local (krb5.conf), or regex=replacement;….",
    )
    replay_cache: str = Field(
        default="",
        description="Replay cache file, shared by a host's workers; empty: the default of MIT krb5 for this user.",
    )
    sign_in: bool = Field(default=False, description="Offer login with the browser's ticket on the login page.")
    timeout_s: float = Field(default=10, gt=0, description="Directory kinit: seconds to wait for the KDC.")


class TokenHandlerSettings(Section):
    """A site's own bearer tokens."""

    handler: str = Field(
        default="", description='Function that turns a token into a session: "package.module:function".'
    )


class Airflow2ModuleSettings(Section):
    """Auth backend modules written for Airflow 2, by their names in `auth_backends`."""

    thread_safe: Values = Field(
        default=[],
        description="Modules that may handle several requests at once; any other handles one request at a time in a"
        " process.",
    )
    ignore_body: Values = Field(
        default=[],
        description="Modules that never read a request's body, so that it need not be read before they run.",
    )
    airflow_cfg: str = Field(
        default="",
        description="The airflow.cfg of the Airflow 2: what `airflow.configuration.conf` reads there, beside the"
        " environment.",
    )
    auth_type: Literal["", "db", "ldap", "oauth", "remote_user", "oid"] = Field(
        default="",
        description="AUTH_TYPE of the old webserver_config.py, for modules that ask; empty: ldap where that is in"
        " [basic_auth] directories, else db.",
    )
    accident: Values = Field(
        default=[],
        description="Modules whose exceptions count as a refusal; any other module that raises is 503. A network that"
        " fails is 503 for every module.",
    )
    user_when_unnamed: Table = Field(
        default={},
        description="Accounts for modules that accept a request and name no user, by module; a module without an entry"
        " gets 403.",
    )
    answer_headers: Values = Field(
        default=[],
        description="Response headers of a module's success that reach the client, beside WWW-Authenticate,"
        " Authentication-Info and Server-Authorization.",
    )
    remote_user_header: str = Field(
        default="",
        pattern=r"^([A-Za-z][A-Za-z0-9-]*)?$",
        description="Header of a proxy in remote_user_proxies that modules see as `request.remote_user` (the WSGI"
        " variable REMOTE_USER); empty: modules see none.",
    )
    remote_user_proxies: Networks = Field(
        default=[],
        description="Proxies, of those in trusted_proxies, that log users in and set remote_user_header.",
    )
    registration_role: str = Field(
        default="",
        description="AUTH_USER_REGISTRATION_ROLE of the old webserver_config.py: `auth_user_oauth` creates unknown users"
        " with this role, where write_users_as is set; empty: it creates nobody.",
    )
    read_as: str = Field(
        default="",
        description="Airflow user in whose name `Variable.get` and `Connection` of a module read through Airflow's API;"
        " empty: they raise an error.",
    )
    write_users_as: str = Field(
        default="",
        description="Airflow administrator in whose name `add_user` and `update_user` of a module change users through"
        " Airflow's API; empty: users are not changed.",
    )
    start_timeout_s: float = Field(
        default=20,
        gt=0,
        le=120,
        description="Seconds for the import of a module, and for its init_app(); a module that takes longer gets 503"
        " until it is ready.",
    )
    max_body_bytes: int = Field(
        default=1048576,
        ge=1024,
        le=67108864,
        description="Largest body that a module may read, in bytes; larger ones get 413.",
    )
