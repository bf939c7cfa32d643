"""Translates each name in webserver_config.py (Flask-AppBuilder's `AUTH_*`, and Flask's own)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

from compat_auth.cli.migration.found import Found, OldWorld
from compat_auth.cli.migration.translation import Translation
from compat_auth.cli.migration.webserver_config import WAYS, Assignment, read_assignments

_TYPES: Final = dict(enumerate(WAYS))
_IN_LDAP: Final[Mapping[str, str]] = {
    "AUTH_LDAP_USE_TLS": "ldap.start_tls",
    "AUTH_LDAP_BIND_USER": "ldap.bind_dn",
    "AUTH_LDAP_BIND_PASSWORD": "ldap.bind_password",
    "AUTH_LDAP_SEARCH": "ldap.base",
    "AUTH_LDAP_UID_FIELD": "ldap.username_attribute",
    "AUTH_LDAP_EMAIL_FIELD": "ldap.email_attribute",
    "AUTH_LDAP_GROUP_FIELD": "ldap.member_of",
    "AUTH_LDAP_TLS_CACERTFILE": "ldap.ca_file",
}
_OFF_MATTERS: Final = "the certificate of the server is always checked; name its authority in ldap.ca_file"
_IMPOSSIBLE: Final[Mapping[str, str]] = {
    "AUTH_LDAP_ALLOW_SELF_SIGNED": _OFF_MATTERS,
    "AUTH_LDAP_TLS_CACERTDIR": "name one file with all authorities in ldap.ca_file",
    "AUTH_LDAP_TLS_CERTFILE": "a client certificate for LDAP is not supported; use bind_dn and bind_password",
    "AUTH_LDAP_TLS_KEYFILE": "a client certificate for LDAP is not supported; use bind_dn and bind_password",
    "AUTH_LDAP_USERNAME_FORMAT": "users are searched before they are bound; set ldap.bind_dn, base and user_filter",
    "AUTH_LDAP_APPEND_DOMAIN": "users are searched before they are bound; set ldap.bind_dn, base and user_filter",
    "SECURITY_MANAGER_CLASS": "code of the site; what it adds to logins is a backend or a directory here",
    "FAB_SECURITY_MANAGER_CLASS": "code of the site; what it adds to logins is a backend or a directory here",
    "OAUTH_PROVIDERS": "log in at the provider in [[oidc.issuers]] with sign_in, see the how-to about OpenID providers",
    "OPENID_PROVIDERS": "OpenID 2.0 is gone; use an OpenID Connect provider in [[oidc.issuers]]",
    "AUTH_USER_REGISTRATION": "an unknown user is not created; FAB creates users at their first login on its own page",
}
_UNNEEDED: Final[Mapping[str, str]] = {
    "AUTH_LDAP_FIRSTNAME_FIELD": "only FAB's user list shows it",
    "AUTH_LDAP_LASTNAME_FIELD": "only FAB's user list shows it",
    "AUTH_LDAP_TLS_DEMAND": "the certificate of the server is always checked",
    "AUTH_ROLES_SYNC_AT_LOGIN": "roles are read at each check",
    "AUTH_USER_REGISTRATION_ROLE": "an unknown user is not created",
    "AUTH_USER_REGISTRATION_ROLE_JMESPATH": "an unknown user is not created",
    "AUTH_ROLE_ADMIN": "roles are Airflow's own",
    "WTF_CSRF_ENABLED": "our forms always have a token",
    "WTF_CSRF_TIME_LIMIT": "our forms always have a token",
    "SQLALCHEMY_DATABASE_URI": "[database] sql_alchemy_conn says where the users are",
    "AUTH_RATE_LIMITED": "compat_auth limits attempts by itself",
    "AUTH_RATE_LIMIT": "compat_auth limits attempts by itself",
    "RATELIMIT_STORAGE_URI": "compat_auth counts attempts by itself",
    "RATELIMIT_ENABLED": "compat_auth limits attempts by itself",
}
_ABOUT_LOGINS: Final = ("AUTH_", "OAUTH_", "SECURITY_")
Rule = Callable[[Found, Translation], None]


def translate_python(world: OldWorld, into: Translation) -> None:
    """Translate webserver_config.py; without one, Airflow 2 had users in its own database."""
    source, file = world.python
    found = {one.name: one for one in read_assignments(source, file, world.environ)} if source else {}
    way = _auth_type(found.get("AUTH_TYPE"))
    for name, one in found.items():
        old = Found(name, f"{file}:{one.line}", one.value)
        if one.problem:
            if name in _UNNEEDED:
                into.drop(old, _UNNEEDED[name])
            elif name in _OWN or name in _IMPOSSIBLE or not name.isupper() or name.startswith(_ABOUT_LOGINS):
                into.give_up(old, f"{one.problem}; look at it, and set what it stands for yourself")
        else:
            _translate(old, way, into)
    if way == "AUTH_LDAP":
        _finish_ldap(found, file, into)
    into.put("basic_auth.directories", _directories(way, into), _because(way, into))
    signs_itself, lists = bool(into.get("token.secret")), into.get("auth_backends")
    # With exchange the new Airflow checks passwords itself.
    if (
        way == "AUTH_LDAP"
        and signs_itself
        and isinstance(lists, list)
        and "basic_auth" in lists
        and not _database(into)
    ):
        old = Found("AUTH_TYPE", f"{file}:{found['AUTH_TYPE'].line}", way)
        into.give_up(
            old,
            "Airflow 2 asked its own database, too, for users that LDAP refused; set airflow_db.url, and add airflow_db to "
            "basic_auth.directories",
        )


def _translate(found: Found, way: str, into: Translation) -> None:
    name, value = found.name, found.value
    if name in _OWN:
        _OWN[name](found, into)
    elif name.startswith("AUTH_LDAP_") and way != "AUTH_LDAP":
        into.drop(found, "AUTH_TYPE is another one")
    elif name in _IN_LDAP:
        if name == "AUTH_LDAP_USE_TLS" and not value:
            return  # it depends on the URL
        if value not in (None, ""):
            into.take(found, _IN_LDAP[name], value)
    elif name in _IMPOSSIBLE and value in (None, "", False):
        into.drop(found, "it was off")
    elif name in _IMPOSSIBLE:
        into.give_up(found, _IMPOSSIBLE[name])
    elif name in _UNNEEDED or name.startswith(("SESSION_COOKIE_", "RECAPTCHA_", "APP_", "BABEL_", "RATELIMIT_")):
        into.drop(found, _UNNEEDED.get(name, "about Airflow 2's own pages"))
    elif name.startswith("AUTH_") and name not in ("AUTH_TYPE", "AUTH_LDAP_SEARCH_FILTER"):
        into.give_up(found, "not a name that compat_auth knows; look at it")


def _auth_type(one: Assignment | None) -> str:
    if one is None or one.problem:
        return "AUTH_DB"
    value = one.value
    return _TYPES.get(value, "AUTH_DB") if isinstance(value, int) else str(value)


def _database(into: Translation) -> bool:
    return bool(into.get("airflow_db.url"))


def _directories(way: str, into: Translation) -> list[str]:
    if way == "AUTH_LDAP":
        return ["ldap", *(["airflow_db"] if _database(into) else [])]
    return ["airflow_db" if _database(into) else "upstream"]


def _because(way: str, into: Translation) -> str:
    if way == "AUTH_LDAP":
        return "AUTH_TYPE = AUTH_LDAP" + (", and Airflow 2 asked its database after that" if _database(into) else "")
    if _database(into):
        return f"{way}: Airflow 2 checked passwords of the API in its own database"
    return "Airflow 3 itself checks the passwords: its database is not known here"


def _finish_ldap(found: Mapping[str, Assignment], file: str, into: Translation) -> None:
    uid = into.get("ldap.username_attribute") or "uid"
    narrower = found.get("AUTH_LDAP_SEARCH_FILTER")
    extra = narrower.value if narrower is not None and not narrower.problem else ""
    text = f"(&{extra}({uid}={{username}}))" if isinstance(extra, str) and extra else f"({uid}={{username}})"
    into.put("ldap.user_filter", text, "AUTH_LDAP_UID_FIELD and AUTH_LDAP_SEARCH_FILTER in one")
    is_encrypted = "ldaps://" in str(into.get("ldap.url") or "")
    tls = found.get("AUTH_LDAP_USE_TLS")
    why = "Airflow 2 sent passwords in clear; ask for StartTLS"
    if tls is not None and not tls.problem and not tls.value:
        old = Found("AUTH_LDAP_USE_TLS", f"{file}:{tls.line}", tls.value)
        if is_encrypted:
            into.drop(old, "ldaps:// is encrypted from the start")
        else:
            into.change(old, "ldap.start_tls", value=True, why=why)
    elif not is_encrypted and not into.get("ldap.start_tls"):
        into.put("ldap.start_tls", value=True, comment=why)


def _server(found: Found, into: Translation) -> None:
    if found.value in (None, ""):
        into.drop(found, "it is empty")
    else:
        into.take(found, "ldap.url", found.text.split())


def _roles(found: Found, into: Translation) -> None:
    value = found.value
    mapping = cast("dict[str, object]", cast("object", value)) if isinstance(value, dict) else {}
    if not mapping:
        into.drop(found, "it is empty")
        return
    if any(not isinstance(roles, list) for roles in mapping.values()):
        into.give_up(found, "some of its roles are computed; write them into [ldap.roles] yourself")
        return
    into.take(
        found,
        "ldap.roles",
        {group: [str(role) for role in cast("list[object]", roles)] for group, roles in mapping.items()},
    )


def _public(found: Found, into: Translation) -> None:
    if not found.value:
        into.drop(found, "it is empty")
        return
    into.put("mode", "airflow2", "AUTH_ROLE_PUBLIC: missing and wrong credentials are answered as 2.x did")
    into.change(found, "airflow2.auth_role_public", found.text, "everybody else is refused with 403, as 2.x did")


def _type(found: Found, into: Translation) -> None:
    way = _TYPES.get(found.value, "") if isinstance(found.value, int) else found.text
    match way:
        case "AUTH_DB" | "AUTH_LDAP":
            into.drop(found, "[basic_auth] directories says who checks passwords")
        case "AUTH_REMOTE_USER":
            into.give_up(found, "name the proxy and its header in [remote_user], and add remote_user to auth_backends")
        case "AUTH_OAUTH":
            into.give_up(found, "scripts have no password there; see the how-to about SSO and scripts")
        case _:
            into.give_up(found, "not a way to log in that Airflow 3 has; choose another")


def _lifetime(found: Found, into: Translation) -> None:
    if isinstance(found.value, int) and found.value >= 60:
        into.take(found, "session.idle_s", found.value)
    else:
        into.give_up(found, "not a number of seconds; set session.idle_s yourself")


_OWN: Final[Mapping[str, Rule]] = {
    "AUTH_TYPE": _type,
    "AUTH_LDAP_SERVER": _server,
    "AUTH_LDAP_SEARCH_FILTER": lambda found, into: into.drop(found, "it is in ldap.user_filter"),
    "AUTH_ROLES_MAPPING": _roles,
    "AUTH_ROLE_PUBLIC": _public,
    "PERMANENT_SESSION_LIFETIME": _lifetime,
}
