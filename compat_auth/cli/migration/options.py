"""Translates each option of airflow.cfg that is about logins (Airflow 1.10 to 2.11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from compat_auth.cli.migration.backend_list import drop_passed_over, translate_list
from compat_auth.cli.migration.found import INDIRECT, Found, OldWorld
from compat_auth.cli.migration.translation import Translation

Rule = Callable[[Found, OldWorld, Translation], None]

_TRUE: Final = frozenset(("t", "true", "1", "yes", "on"))
_NOTHING: Final = frozenset(("", "none", "false", "f", "0"))
MIN_SECRET_BYTES: Final = 64
"""RFC 7518 section 3.2, for HS512."""


def is_true(text: str) -> bool:
    """Return the truth of a text, as Airflow's parser reads it."""
    return text.strip().lower() in _TRUE


def translate_options(world: OldWorld, into: Translation) -> None:
    """Translate every option that is about logins; all others have nothing to do with us."""
    translate_list(world, into)
    passed_over = drop_passed_over(world, into, RULES)
    for name, found in world.options.items():
        if name in passed_over:
            continue
        if name in RULES:
            RULES[name](found, world, into)
            continue
        section, key = name
        for end, how in INDIRECT.items():
            if key.endswith(end) and (section, key.removesuffix(end)) in RULES:
                plain = key.removesuffix(end)
                into.give_up(found, f"its value comes from {how}, which is not asked here; set {plain} itself")
    for found in world.unread:
        into.give_up(found, found.problem)


def _to(name: str) -> Rule:
    def rule(found: Found, _world: OldWorld, into: Translation) -> None:
        if found.text.lower() not in ("", "none"):
            into.take(found, name, found.text)

    return rule


def _whole_number(name: str, factor: int = 1) -> Rule:
    def rule(found: Found, _world: OldWorld, into: Translation) -> None:
        if not found.text.isdigit():
            into.give_up(found, f"not a whole number; set {name} yourself")
        elif factor == 1:
            into.take(found, name, int(found.text))
        else:
            into.change(found, name, int(found.text) * factor, f"in seconds, {factor} times the old number")

    return rule


def _unneeded(why: str) -> Rule:
    return lambda found, _world, into: into.drop(found, why)


def _impossible(why: str) -> Rule:
    """Return a rule for an option that matters only when it is switched on."""

    def rule(found: Found, _world: OldWorld, into: Translation) -> None:
        if found.text.lower() in _NOTHING:
            into.drop(found, "it was off")
        else:
            into.give_up(found, why)

    return rule


def _audience(found: Found, _world: OldWorld, into: Translation) -> None:
    if found.text:
        into.take(found, "google_openid.audience", [found.text])


def _secret_key(found: Found, _world: OldWorld, into: Translation) -> None:
    if "session" in _backends(into) and found.text:
        into.take(found, "airflow_session.secret_key", found.text)
    else:
        into.drop(found, "only the backend `session` reads Airflow's cookie")


def _keytab(found: Found, _world: OldWorld, into: Translation) -> None:
    if "kerberos" not in _backends(into):
        into.drop(found, "the list has no kerberos_auth")
    elif found.text:
        into.take(found, "kerberos.keytab", found.text)


def _principal(found: Found, _world: OldWorld, into: Translation) -> None:
    service, slash, _ = found.text.partition("/")
    if "kerberos" not in _backends(into):
        into.drop(found, "the list has no kerberos_auth")
        return
    if found.problem:
        into.give_up(found, f"{found.problem}; set kerberos.service_if_keyed yourself")
        return
    names = list(dict.fromkeys(["HTTP", "airflow", *([service] if slash and service else [])]))
    into.put("kerberos.service", [], "each of the services below is accepted once the keytab has a key for it")
    into.change(found, "kerberos.service_if_keyed", names, "browsers ask for HTTP, Airflow 2's client for airflow")
    into.put(
        "kerberos.name_mapping", "full", "Airflow 2 looked users up as alice@REALM; strip_realm takes the name alone"
    )


def _database(found: Found, _world: OldWorld, into: Translation) -> None:
    if found.text:
        into.take(found, "airflow_db.url", found.text)


def _proxy_fix(found: Found, _world: OldWorld, into: Translation) -> None:
    if is_true(found.text) or found.problem:
        into.give_up(found, "Airflow 2 believed every proxy; name the addresses of your proxies in trusted_proxies")
    else:
        into.drop(found, "it was off")


def _base_url(found: Found, _world: OldWorld, into: Translation) -> None:
    into.drop(found, "the address of the old web server; [upstream] url is that of the new one")


def _host(found: Found, world: OldWorld, into: Translation) -> None:
    if ("webserver", "web_server_port") not in world.options:
        into.give_up(found, "it has no port; set serve.bind yourself")


def _port(found: Found, world: OldWorld, into: Translation) -> None:
    host = world.options.get(("webserver", "web_server_host"))
    if not found.text.isdigit() or (host is not None and host.problem):
        into.give_up(found, "not an address and a port; set serve.bind yourself")
        return
    name = host.text if host and host.text else "127.0.0.1"
    address = f"[{name}]:{found.text}" if ":" in name else f"{name}:{found.text}"
    if int(found.text) == _port_of(str(into.get("upstream.url"))):
        why = "[upstream] url has the same port; give the new Airflow another port, and --airflow-url or this one"
        into.change(found, "serve.bind", address, why, must_act=True)
    else:
        into.change(found, "serve.bind", address, "clients keep their address; give the new Airflow another port")


def _port_of(url: str) -> int | None:
    try:
        parts = urlsplit(url)
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None


def _jwt_secret(found: Found, _world: OldWorld, into: Translation) -> None:
    size = len(found.text.encode("utf-8", "surrogatepass"))
    if found.problem or size >= MIN_SECRET_BYTES:
        into.take(found, "token.secret", found.text)
    else:
        into.drop(found, f"shorter than {MIN_SECRET_BYTES} bytes, so that the new Airflow makes the tokens")


def _ldap_uri(found: Found, _world: OldWorld, into: Translation) -> None:
    if found.text:
        into.take(found, "ldap.url", found.text.split())


def _ldap_filter(found: Found, _world: OldWorld, into: Translation) -> None:
    if found.text.lower() in ("", "none", "objectclass=*", "(objectclass=*)"):
        into.drop(found, "it takes every entry")
    else:
        into.give_up(found, "put it and the search for {username} in one into ldap.user_filter, in parentheses")


def _ldap_scope(found: Found, _world: OldWorld, into: Translation) -> None:
    if found.text.upper() in ("", "SUBTREE"):
        into.drop(found, "everything below ldap.base is searched")
    else:
        into.give_up(
            found, "everything below ldap.base is searched, not one level; name a base with no other users below it"
        )


def _backends(into: Translation) -> list[str]:
    names = into.get("auth_backends")
    return [str(name) for name in names] if isinstance(names, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


_NO_TICKETS: Final = "Airflow's own tickets, for Hadoop and others; Airflow 3 has the same option"
_CORS: Final = "Airflow 3 has the same option, and the gateway passes its answers on; leave it in airflow.cfg"
_LOGIN_LIMIT: Final = "compat_auth limits attempts by itself"
RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("api", "google_oauth2_audience"): _audience,
    ("fab", "google_oauth2_audience"): _audience,
    ("webserver", "google_oauth2_audience"): _audience,
    ("api", "google_key_path"): _unneeded("only Airflow's own client read it; give the client its key file directly"),
    ("api", "enable_experimental_api"): _impossible("the experimental API of 1.10 is not served; call /api/v1"),
    ("api", "access_control_allow_origins"): _unneeded(_CORS),
    ("api", "access_control_allow_origin"): _impossible(
        "the name of 2.0; Airflow 3 reads access_control_allow_origins"
    ),
    ("api", "access_control_allow_headers"): _unneeded(_CORS),
    ("api", "access_control_allow_methods"): _unneeded(_CORS),
    ("api_auth", "jwt_secret"): _jwt_secret,
    ("webserver", "secret_key"): _secret_key,
    ("webserver", "session_lifetime_minutes"): _whole_number("airflow_session.lifetime_s", 60),
    ("webserver", "session_backend"): _unneeded("both kinds of session cookie are read"),
    ("webserver", "cookie_secure"): _unneeded("our cookies are Secure on HTTPS"),
    ("webserver", "cookie_samesite"): _unneeded("our cookies are SameSite=Lax"),
    ("webserver", "base_url"): _base_url,
    ("webserver", "web_server_host"): _host,
    ("webserver", "web_server_port"): _port,
    ("webserver", "workers"): _whole_number("serve.workers"),
    ("webserver", "web_server_ssl_cert"): _to("serve.tls_cert"),
    ("webserver", "web_server_ssl_key"): _to("serve.tls_key"),
    ("webserver", "enable_proxy_fix"): _proxy_fix,
    ("webserver", "auth_rate_limited"): _unneeded(_LOGIN_LIMIT),
    ("webserver", "auth_rate_limit"): _unneeded(_LOGIN_LIMIT),
    ("fab", "auth_rate_limited"): _unneeded(_LOGIN_LIMIT),
    ("fab", "auth_rate_limit"): _unneeded(_LOGIN_LIMIT),
    ("webserver", "rbac"): _unneeded("the pages with roles of 1.10 are the only ones since 2.0"),
    ("webserver", "authenticate"): _impossible("the web login of 1.10; choose an auth manager in Airflow 3"),
    ("webserver", "auth_backend"): _impossible("the web login of 1.10; choose an auth manager in Airflow 3"),
    ("kerberos", "keytab"): _keytab,
    ("kerberos", "principal"): _principal,
    ("kerberos", "ccache"): _unneeded(_NO_TICKETS),
    ("kerberos", "reinit_frequency"): _unneeded(_NO_TICKETS),
    ("kerberos", "kinit_path"): _unneeded(_NO_TICKETS),
    ("kerberos", "forwardable"): _unneeded(_NO_TICKETS),
    ("kerberos", "include_ip"): _unneeded(_NO_TICKETS),
    ("core", "security"): _unneeded(_NO_TICKETS),
    ("database", "sql_alchemy_conn"): _database,
    ("core", "sql_alchemy_conn"): _database,
    ("ldap", "uri"): _ldap_uri,
    ("ldap", "user_filter"): _ldap_filter,
    ("ldap", "search_scope"): _ldap_scope,
    ("ldap", "basedn"): _to("ldap.base"),
    ("ldap", "bind_user"): _to("ldap.bind_dn"),
    ("ldap", "bind_password"): _to("ldap.bind_password"),
    ("ldap", "cacert"): _to("ldap.ca_file"),
    ("ldap", "user_name_attr"): _to("ldap.username_attribute"),
    ("ldap", "group_member_attr"): _to("ldap.member_of"),
    ("ldap", "superuser_filter"): _impossible("roles by filter were those of 1.10; map groups in [ldap.roles]"),
    ("ldap", "data_profiler_filter"): _impossible("roles by filter were those of 1.10; map groups in [ldap.roles]"),
    ("github_enterprise", "client_id"): _impossible("a web login of 1.10; configure it in FabAuthManager"),
    ("google", "client_id"): _impossible("a web login of 1.10; configure it in FabAuthManager"),
}
