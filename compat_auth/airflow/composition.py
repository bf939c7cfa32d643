"""The composition root inside Airflow: the gate, our pages, the settings and the backends, around Airflow's application."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask

from compat_auth.airflow.activation import CONFIG, ENABLED, PREFIX, is_truth, old_list, old_settings, own_variables
from compat_auth.airflow.auth_managers import FabManager, active_auth_manager
from compat_auth.airflow.in_process import InProcess
from compat_auth.airflow.keytab import services_in
from compat_auth.airflow.managers.base import AuthManager
from compat_auth.airflow.metrics import PluginMetrics
from compat_auth.airflow.middleware import (
    AirflowAuthorization,
    AirflowForwarding,
    AirflowMiddleware,
    Guarded,
    Lasting,
    behind_root,
)
from compat_auth.airflow.start_log import log_start
from compat_auth.airflow.tasks.connection import BACKEND as TASKS
from compat_auth.airflow.tasks.connection import TaskConnection
from compat_auth.airflow.tasks.source import InProcessTasks
from compat_auth.airflow.v1.translation import V1Translation, public_pages
from compat_auth.airflow2_config.settings import add_missing, adopted, adopted_kerberos, kerberos_services
from compat_auth.airflow_api.paths import guarded_prefixes
from compat_auth.api import leak_receiver, personal_tokens
from compat_auth.api.oauth.metadata import MetadataPages
from compat_auth.api.swagger_ui import Site
from compat_auth.browsers.visits import LOGINS, BrowserVisits
from compat_auth.composition.decider import build_core, new_flask_app
from compat_auth.composition.gate import GateParts, Place
from compat_auth.composition.pages import own_pages
from compat_auth.composition.rules import gate_rules, protected_paths, translates_v1
from compat_auth.composition.telemetry import Metrics, set_up_logs
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings
from compat_auth.config.loading import merge, parse_settings, read_toml, read_variables
from compat_auth.errors import ConfigError
from compat_auth.gateway.health import live, ready_page
from compat_auth.gateway.middleware import Page
from compat_auth.gateway.server.server import bind_socket
from compat_auth.http.asgi import ASGIApp
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.store.readiness import StoreReadiness
from compat_auth.tasks import TaskRules, set_task_source
from compat_auth.tokens.bound import BoundTokens
from compat_auth.tokens.cache import TokenCache
from compat_auth.tokens.revoked import RevokedTokens
from compat_auth.tokens.strategies import Kind
from compat_auth.web.appearance.error_page import ErrorPages
from compat_auth.web.site import BLUEPRINT, page_paths

STRATEGY = "in_process"
# An empty list, in each of its spellings.
_NOBODY: tuple[object, ...] = ("", [], [""])
_DATABASE = "compat_auth.db"
_MAX_WORKERS = 64
# With forms and bodies that have a token, or need none, which Flask-WTF does not know.
_BLUEPRINTS = (BLUEPRINT, personal_tokens.BLUEPRINT, leak_receiver.BLUEPRINT)


def compose(app: ASGIApp, conf: Any, environ: Mapping[str, str]) -> ASGIApp:
    """Return Airflow's application with the gate around it.

    Args:
        app: Airflow's application.
        conf: Airflow's configuration.
        environ: The environment.

    Raises:
        ConfigError: The settings do not fit together, or not to this Airflow.
    """
    manager = active_auth_manager()
    settings = settings_in(conf, environ, manager)
    set_up_logs(settings)
    limits = settings.token_endpoint
    ttls_s: dict[Kind, int] = {"token": limits.ttl_s, "cli": limits.cli_ttl_s}
    cache = TokenCache(settings.serve.cache_entries, unix_now)
    strategy = InProcess(manager, cache, settings.token.ttl_s, ttls_s=ttls_s)
    core = build_core(settings, _flask_app(manager), strategy, read=manager.read, logout=manager)
    _exempt_own_forms(core.decider.app)
    log_start(settings, core.decider.chain.backends, old_settings(conf, environ))
    metadata = MetadataPages.from_settings(settings)
    translates = translates_v1(settings)
    behind = behind_root(app)
    authorization = AirflowAuthorization(gate_rules(settings))
    rules = authorization.rules
    revoked = RevokedTokens(
        core.denylist, rules.upstream_cookie, BoundTokens(settings.client_certificate, settings.token.audience)
    )
    place = Place(
        V1Translation(behind, says_deprecated=settings.upstream.api_v1_deprecation) if translates else behind,
        authorization,
        TrustedProxies(settings.trusted_proxies),
        forwarding=lambda here, decider, refusals: AirflowForwarding(here.app, authorization, decider, refusals),
    )
    parts = GateParts.build(
        place,
        core.decider,
        revoked,
        metadata_url=metadata.metadata_url,
        browsers=BrowserVisits.from_settings(settings, rules, core.decider, revoked),
        show_error=ErrorPages.from_settings(settings, page_paths(core.decider.app)).show,
    )
    pages: dict[str, Page] = {}
    site = Site(settings.prefix, pages)
    pages |= {
        "live": live,
        "ready": ready_page(StoreReadiness(core.denylist.rows).require),
        **own_pages(settings, parts, core.issued, metadata, site, logins_are_upstreams=True),
        **(public_pages(parts.forwarding, site) if translates else {}),
    }
    gate = parts.gate(pages, max_judged_body=settings.airflow2_modules.max_body_bytes)
    leads = settings.session.login == "ours"
    logins = LOGINS if leads else ()
    guarded = Guarded(
        [*protected_paths(settings), settings.prefix],
        (*gate.paths, *(path.decode("utf-8", "surrogatepass") for path in (*rules.logouts, *logins))),
        # A browser with a session of ours gets Airflow's cookie with whatever it asks for.
        rules.own_cookies if leads else (),
    )
    tokens = core.personal_tokens
    lasting: list[Lasting] = [core.decider, manager, core.denylist, *([tokens] if tokens is not None else [])]
    if core.usage is not None:
        lasting.append(core.usage)
    metrics = Metrics.from_settings(settings, core)
    if metrics is not None:
        bind = partial(bind_socket, settings.metrics.bind, "metrics.bind")
        lasting.append(PluginMetrics(metrics.process, metrics.surroundings, bind))
    if all(backend.name != TASKS for backend in core.decider.chain.backends):
        return AirflowMiddleware(app, gate, guarded, parts.refusals, revoked, lasting, parts.stages)
    tasks = InProcessTasks(conf, settings.airflow_task.ttl_s)
    set_task_source(core.decider.app, tasks)
    middleware = AirflowMiddleware(app, gate, guarded, parts.refusals, revoked, [*lasting, tasks], parts.stages)
    return TaskConnection(middleware, tasks, settings.airflow_task, TaskRules.from_settings(settings), revoked)


def settings_in(conf: Any, environ: Mapping[str, str], manager: AuthManager) -> Settings:
    """Return the settings that Airflow's configuration spells out, with what goes without saying inside Airflow.

    Raises:
        ConfigError: A setting is unknown, out of range, or cannot hold inside Airflow.
    """
    variables = own_variables(conf, environ)
    enabled = variables.pop(ENABLED, None)
    if enabled is not None and not is_truth(enabled):
        raise ConfigError(f"[compat_auth] enabled: {enabled!r}: neither True nor False")
    content = _defaults(manager, environ)
    content["serve"] = {"workers": _workers(conf)}
    file = variables.pop(CONFIG, None)
    if file is not None:
        merge(content, read_toml(Path(file)))
    merge(content, read_variables(variables, prefix=PREFIX))
    if "auth_backends" not in content and (names := old_list(conf, environ)) is not None:
        content["auth_backends"] = names
    if content.get("auth_backends") in _NOBODY:
        # Airflow starts all the same, and judges what is its own.
        content["auth_backends"] = []
    _adopt(content, conf, environ)
    settings = parse_settings(content, origin="[compat_auth]", prefix=PREFIX)
    if settings.token.strategy != STRATEGY:
        raise ConfigError(f"[compat_auth] token__strategy: {settings.token.strategy}: Airflow makes its own; remove it")
    if settings.upstream.profile != manager.profile:
        raise ConfigError(
            f"[compat_auth] upstream__profile: {settings.upstream.profile}: this Airflow is {manager.profile}; remove it"
        )
    return settings


def _defaults(manager: AuthManager, environ: Mapping[str, str]) -> dict[str, Any]:
    # As Airflow finds its own folder, where its own SQLite file is.
    home = Path(os.path.expandvars(environ.get("AIRFLOW_HOME") or "~/airflow")).expanduser()
    return {
        "database_url": f"sqlite:///{home.absolute() / _DATABASE}",
        "upstream": {"profile": manager.profile, "protect": guarded_prefixes()},
        "token": {"strategy": STRATEGY},
        "basic_auth": {"directories": [manager.name]},
        "lookup": {"directories": [manager.name] if manager.knows_names else []},
    }


def _workers(conf: Any) -> int:
    """Return how many processes share what is counted, as `[api] workers` of Airflow says."""
    try:
        return min(max(int(conf.get("api", "workers", fallback="1")), 1), _MAX_WORKERS)
    except (configparser.Error, TypeError, ValueError):
        # Airflow itself says what is wrong with it.
        return 1


def _adopt(content: dict[str, Any], conf: Any, environ: Mapping[str, str]) -> None:
    """Add the settings that the backends of the list read in Airflow's own configuration, unless our own are set.

    Raises:
        ConfigError: The keytab cannot be read.
    """
    old, chain = old_settings(conf, environ), str(content.get("auth_backends"))
    ours = adopted(old, chain)
    if "kerberos" in chain and "kerberos" not in ours:
        ours["kerberos"] = adopted_kerberos(old, str(conf.get("kerberos", "keytab")))
    if "kerberos" in ours and not content.get("kerberos", {}).get("keytab"):
        present = services_in(Path(ours["kerberos"]["keytab"]))
        ours["kerberos"]["service"] = ",".join(name for name in kerberos_services(old) if name in present)
    add_missing(content, ours)


def _flask_app(manager: AuthManager) -> Flask:
    """Return the app for the backends: FAB's own, in which modules written for Airflow 2 find what they know."""
    if not isinstance(manager, FabManager):
        return new_flask_app()
    manager.end_old_sessions()
    return manager.flask_app


def _exempt_own_forms(app: Flask) -> None:
    if "csrf" in app.extensions:
        for name in app.blueprints.keys() & _BLUEPRINTS:
            app.extensions["csrf"].exempt(app.blueprints[name])
