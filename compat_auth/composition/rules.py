"""Reads the gate's rules for paths and cookies from the settings."""

from __future__ import annotations

from compat_auth.airflow_api.paths import FAB_API, V1, whole_paths
from compat_auth.airflow_api.reach import fixed_objects
from compat_auth.authn.session_cookie import SessionCookie
from compat_auth.client_certificates import can_see_certificates, reads_certificates
from compat_auth.config import Settings
from compat_auth.extension import style_of
from compat_auth.gateway.authorization import GateRules, PathRequirement
from compat_auth.http.headers import api_key_name
from compat_auth.http.paths import AIRFLOW_RESTS, Prefixes
from compat_auth.requirements import Requirements
from compat_auth.web.site import own_cookie_names

# What load balancers ask an Airflow of either kind for.
HEALTH = frozenset((b"/health", b"/api/v1/health", b"/api/v2/monitor/health"))


def translates_v1(settings: Settings) -> bool:
    """Return whether compat_auth answers `/api/v1`."""
    return settings.upstream.api_v1 and settings.upstream.profile != "generic"


def protected_paths(settings: Settings) -> list[str]:
    """Return the path prefixes that need a decision."""
    paths = [*settings.upstream.protect]
    if translates_v1(settings):
        # The old API leads to the new one: its paths are protected wherever those of the new one are.
        paths.append(f"{V1}/")
    if settings.upstream.profile == "airflow-fab" and FAB_API not in paths:
        # Airflow 2 guarded users and roles with the same backends.
        paths.append(FAB_API)
    if settings.upstream.profile != "generic":
        # Airflow's pages read every DAG there.
        fixed = fixed_objects(rule.path.encode() for rule in settings.require)
        paths.extend(dict.fromkeys(f"{path.decode().partition('/api/')[0]}/ui/" for _, path in fixed))
    return paths


def identity_headers(settings: Settings) -> frozenset[bytes]:
    """Return the headers in which a configured backend finds who the caller is; they never go on to the upstream."""
    names = [table.header for table in settings.oidc.issuers]
    if any("remote_user" in name for name in settings.auth_backends):
        names.append(settings.remote_user.header)
    if reads_certificates(settings):
        names.extend(settings.client_certificate.headers)
    return frozenset(name.lower().encode("ascii") for name in names if name)


def gate_rules(settings: Settings) -> GateRules:
    """Return the gate's rules for paths and cookies."""
    cookie = SessionCookie.from_settings(settings)
    is_airflow = settings.upstream.profile != "generic"
    return GateRules(
        protect=Prefixes(protected_paths(settings)),
        prefix=settings.prefix.encode("ascii"),
        identity_cookies=tuple(name.encode("ascii") for name in settings.upstream.identity_cookies),
        own_cookies=frozenset(name.encode("ascii") for name in own_cookie_names(cookie)) if cookie else frozenset(),
        style=style_of(settings),
        requirements=tuple(
            PathRequirement(
                Prefixes([rule.path]), frozenset(rule.methods), Requirements(tuple(rule.all_of), tuple(rule.any_of))
            )
            for rule in settings.require
        ),
        # A task's own token opens every secret of Airflow, so no identity is ever forwarded there.
        task_api=Prefixes(["/execution/"] if is_airflow else []),
        to_login=whole_paths("passed", below="/api/") if is_airflow else frozenset(),
        logouts=settings.upstream.logouts(),
        public=whole_paths("public", below="/api/") if is_airflow else frozenset(),
        # An upstream that is not known to us may do on OPTIONS what it does on GET.
        preflights=is_airflow,
        rests=AIRFLOW_RESTS if settings.upstream.profile != "generic" else None,
        identity_headers=identity_headers(settings),
        upstream_reads=frozenset(name.lower().encode("ascii") for name in settings.upstream.reads_headers),
        sees_certificates=can_see_certificates(settings),
        health=HEALTH if settings.upstream.profile != "generic" else frozenset(),
        api_key=api_key_name(settings.personal_tokens.header),
        do_as=bool(settings.do_as),
    )
