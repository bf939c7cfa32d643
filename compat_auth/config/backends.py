"""The settings of the backends that check passwords, tickets, cookies and tokens of a site."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from compat_auth.config.fields import Names, Secrets, Section, Values


class BasicAuthSettings(Section):
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


class AirflowSessionSettings(Section):
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


class SessionSettings(Section):
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
    login: Literal["", "ours", "upstream"] = Field(
        default="",
        description="Where a browser logs in. ours: at our page, also where the upstream's pages would send it to their "
        "own, and their login cookie is renewed while our session lives. upstream: never led to our page. Empty: led to "
        "our page in place of a 401.",
    )


class KerberosSettings(Section):
    """Tickets of a Kerberos realm."""

    keytab: str = Field(default="", description="File with our keys, made by `kadmin -q 'ktadd -k FILE HTTP/HOST'`.")
    service: Values = Field(
        default=["HTTP"], description="Services that tickets may be for; Airflow 2's clients ask for airflow."
    )
    service_if_keyed: Values = Field(
        default=[], description="Further services that tickets may be for, each once the keytab has a key for it."
    )
    realms: Values = Field(default=[], description="Realms whose users may come in; empty: the one of our own keys.")
    name_mapping: str = Field(
        default="strip_realm",
        description="From principal to user: strip_realm, full, auth_to_local (krb5.conf), or regex=replacement;….",
    )
    replay_cache: str = Field(
        default="", description="File in which a host's workers remember tokens; empty: MIT's own for this user."
    )
    sign_in: bool = Field(
        default=False, description="Offer on the login page to begin a session with the browser's ticket."
    )
    timeout_s: float = Field(default=10, gt=0, description="Directory kinit: seconds that the KDC may take.")


class TokenHandlerSettings(Section):
    """A site's own bearer tokens."""

    handler: str = Field(
        default="", description='Function that turns a token into a session: "package.module:function".'
    )


class Airflow2ModuleSettings(Section):
    """Modules that were written for Airflow 2, by the names that `auth_backends` has for them."""

    thread_safe: Values = Field(
        default=[],
        description="Modules that several requests may be in at once; any other has one request at a time in a process.",
    )
    ignore_body: Values = Field(
        default=[],
        description="Modules that never look at a request's body, so that it need not be read before they are asked.",
    )
    max_body_bytes: int = Field(
        default=1048576, ge=1024, le=67108864, description="The largest body that a module is asked about; beyond: 413."
    )
