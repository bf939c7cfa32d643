"""The first configuration file of a site, with a comment for each line."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from compat_auth.authn.registry import AIRFLOW_NAMES
from compat_auth.cli.settings.toml_text import quoted

_MIN_SECRET_BYTES = 64  # RFC 7518 section 3.2, for HS512
# Our backends that `check` refuses with strategy exchange.
_WITHOUT_PASSWORDS = frozenset(
    (
        "airflow_task",
        "client_certificate",
        "google_openid",
        "kerberos",
        "oidc",
        "personal_token",
        "remote_user",
        "token_handler",
        "workload",
    )
)


@dataclass(frozen=True, slots=True)
class Choices:
    """The findings on this machine and the operator's answers.

    Attributes:
        url: Base URL of Airflow 3's API.
        profile: `[upstream] profile`.
        airflow_cfg: The file from which the list of backends and their settings are read; empty: none.
        old_backends: The list in that file; empty: none.
        jwt_secret: `[api_auth] jwt_secret` of Airflow; empty: passwords alone, exchanged there.
        airflow_database_url: Airflow's database, where users are looked up; empty: none.
        keytab: For tickets; empty: none.
        bind: Address and port to listen on.
    """

    url: str
    profile: str
    airflow_cfg: str
    old_backends: str
    jwt_secret: str = field(repr=False)
    airflow_database_url: str = field(repr=False)
    keytab: str
    bind: str

    @property
    def backends(self) -> tuple[str, ...]:
        """The chain: the old list, else what the other choices allow."""
        if self.old_backends:
            return tuple(name.strip() for name in self.old_backends.split(","))
        if not self.jwt_secret:
            return ("basic_auth",)
        return ("session", "basic_auth", *(("kerberos",) if self.keytab else ()), "personal_token")

    @property
    def has_sessions(self) -> bool:
        """Whether the gateway's own cookies have to be encrypted."""
        return any(name.rpartition(".")[2] == "session" for name in self.backends)

    @property
    def directory(self) -> str:
        """The directory that checks passwords."""
        return "airflow_db" if self.airflow_database_url else "upstream"


def _passwordless(choices: Choices) -> list[str]:
    """Return where something without passwords is chosen."""
    where = f"{choices.airflow_cfg or 'this environment'}: auth_backends"
    names = [name.strip() for name in choices.old_backends.split(",")]
    # A module of the site's own is imported only when it serves, and may take passwords.
    found = [f"{where}: {name}" for name in names if AIRFLOW_NAMES.get(name, name) in _WITHOUT_PASSWORDS]
    return [*(["--keytab"] if choices.keytab else []), *found]


def problem_of(choices: Choices) -> str:
    """Return why the choices do not fit together, with the next step; empty where they do."""
    size = len(choices.jwt_secret.encode("utf-8", "surrogatepass"))
    passwordless = [] if choices.jwt_secret else _passwordless(choices)
    if passwordless:
        return (
            f"{passwordless[0]}: it brings no password that can be exchanged at Airflow for a token, so that the gateway must "
            "sign tokens itself; give --jwt-secret-file with Airflow's [api_auth] jwt_secret, or leave it out"
        )
    if choices.jwt_secret and size < _MIN_SECRET_BYTES:
        return (
            f"--jwt-secret-file: {size} bytes; HS512 needs at least {_MIN_SECRET_BYTES} (RFC 7518 section 3.2): make a "
            "secret with: openssl rand -base64 64, and set it as [api_auth] jwt_secret in all components of Airflow"
        )
    if choices.jwt_secret and choices.profile == "airflow-fab" and not choices.airflow_database_url:
        return (
            "--airflow-database-url: FAB's tokens name a user by number, which only Airflow's database knows; give its "
            "[database] sql_alchemy_conn"
        )
    return ""


def text_of(choices: Choices) -> str:
    """Return the file as TOML; it has secrets in it."""
    return "\n".join([*_lines(choices), ""])


def _lines(choices: Choices) -> Iterator[str]:
    yield "# Written by `compat-auth init`. `compat-auth settings` lists everything that can be set."
    yield ""
    if choices.airflow_cfg:
        yield "# The old list of auth_backends, and what the backends in it read there."
        yield f"# There: {choices.old_backends!r}"
        yield f"airflow_cfg = {quoted(choices.airflow_cfg)}"
    else:
        yield "# Who is asked about a credential, in this order."
        yield f"auth_backends = {json.dumps(list(choices.backends))}"
    if choices.jwt_secret:
        yield "# Where sessions, personal tokens and revocations are kept; PostgreSQL for several replicas."
        yield 'database_url = "sqlite:///compat_auth.db"'
    yield from ("", "[upstream]", f"url = {quoted(choices.url)}")
    yield "# What kind of token this Airflow expects: FabAuthManager's, or SimpleAuthManager's."
    yield f"profile = {quoted(choices.profile)}"
    yield from ("", "[token]")
    if choices.jwt_secret:
        yield "# Airflow's own [api_auth] jwt_secret: the gateway signs with it. A file of its own is safer:"
        yield "# remove the line and set COMPAT_AUTH_TOKEN__SECRET_FILE."
        yield 'strategy = "shared_secret"'
        yield f"secret = {quoted(choices.jwt_secret)}"
    else:
        yield "# Airflow checks each user name and password, and makes the token."
        yield 'strategy = "exchange"'
    yield from ("", "[basic_auth]", f"directories = [{quoted(choices.directory)}]")
    if choices.airflow_database_url:
        yield from ("", "[airflow_db]", "# Needs no more than SELECT on ab_user, ab_role and ab_user_role.")
        yield f"url = {quoted(choices.airflow_database_url)}"
    if choices.keytab:
        yield from ("", "[kerberos]", f"keytab = {quoted(choices.keytab)}")
    if choices.has_sessions:
        yield from ("", "[session]", "# Encrypts cookies; the same in every replica.")
        yield f"secret = {quoted(secrets.token_urlsafe(48))}"
    yield from ("", "[serve]", f"bind = {quoted(choices.bind)}")
