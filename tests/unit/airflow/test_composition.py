"""What the configuration of an Airflow becomes, and that a mistake in it opens nothing."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Blueprint, Flask

from compat_auth.airflow.auth_managers import SimpleManager
from compat_auth.airflow.closed_gate import ClosedMiddleware
from compat_auth.airflow.composition import compose, settings_in
from compat_auth.config import Settings
from compat_auth.errors import ConfigError
from compat_auth.http.asgi import Message
from compat_auth.tokens.strategies import build_strategy
from support.airflow_stand_ins import Conf, SimpleAuthManager, activate, keytab_entry
from support.stand_ins import Behind, basic, call, http_scope

OLD_LIST = "[fab]\nauth_backends = airflow.providers.fab.auth_manager.api.auth.backend.basic_auth\n"
SIMPLE = SimpleManager(SimpleAuthManager())


def settings_of(content: str = "", **environ: str) -> Settings:
    return settings_in(Conf(content, environ), environ, SIMPLE)


def test_an_old_list_is_enough() -> None:
    settings = settings_of(OLD_LIST)

    assert settings.auth_backends == ["airflow.providers.fab.auth_manager.api.auth.backend.basic_auth"]
    assert settings.basic_auth.directories == settings.lookup.directories == ["auth_manager"]
    assert (settings.token.strategy, settings.upstream.profile) == ("in_process", "airflow-simple")
    assert settings.upstream.protect == ["/api/", "/auth/fab/v1/"]


@pytest.mark.parametrize(
    ("home", "expected"),
    [("/srv/airflow", "/srv/airflow"), ("$BASE/af", "/base/af"), ("~/af", "/home/of/af"), ("", "/home/of/airflow")],
)
def test_what_must_outlive_the_process_is_where_airflow_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch, home: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/of")
    monkeypatch.setenv("BASE", "/base")

    by_default = settings_of(OLD_LIST, AIRFLOW_HOME=home)
    said = settings_of(OLD_LIST, AIRFLOW_HOME=home, AIRFLOW__COMPAT_AUTH__DATABASE_URL="sqlite:////other.db")

    assert by_default.database_url.get_secret_value() == f"sqlite:///{expected}/compat_auth.db"
    assert said.database_url.get_secret_value() == "sqlite:////other.db"


def test_a_list_of_ours_goes_before_an_old_one() -> None:
    settings = settings_of(OLD_LIST + "[compat_auth]\nauth_backends = deny_all\n")

    assert settings.auth_backends == ["deny_all"]


def test_the_environment_goes_before_airflow_cfg_and_that_before_the_file_it_names(tmp_path: Path) -> None:
    file = tmp_path / "compat_auth.toml"
    file.write_text('mode = "airflow2"\nprefix = "/file/"\nbasic_auth = { realm = "file", cache_ttl_s = 5 }\n')
    content = f"[compat_auth]\nconfig = {file}\nbasic_auth__realm = cfg\nprefix = /cfg/\n"

    settings = settings_of(content, AIRFLOW__COMPAT_AUTH__BASIC_AUTH__REALM="environment")

    assert (settings.mode, settings.prefix) == ("airflow2", "/cfg/")
    assert (settings.basic_auth.realm, settings.basic_auth.cache_ttl_s) == ("environment", 5)
    assert settings.basic_auth.directories == ["auth_manager"]


def test_a_file_in_the_working_directory_or_a_variable_of_the_gateway_s_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compat_auth.toml").write_text('auth_backends = ["default"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPAT_AUTH_AUTH_BACKENDS", "default")

    assert settings_of(OLD_LIST).auth_backends[0].endswith("basic_auth")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("enabled = perhaps", "neither True nor False"),
        ("token__strategy = shared_secret", "Airflow makes its own; remove it"),
        ("upstream__profile = airflow-fab", "this Airflow is airflow-simple"),
        ("basic_auht__realm = x", "AIRFLOW__COMPAT_AUTH__BASIC_AUHT.*no such setting"),
        ("config = /nowhere/at/all.toml", "cannot be read"),
        ("auth_backends = kerberos", "keytab"),
    ],
)
def test_a_setting_that_cannot_hold_is_refused(content: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        settings_of(f"[compat_auth]\n{content}\n[kerberos]\nkeytab = /nowhere/airflow.keytab\n")


def test_airflow_s_own_keytab_is_taken_unless_another_is_named(tmp_path: Path) -> None:
    keytab = tmp_path / "airflow.keytab"
    keytab.write_bytes(b"\x05\x02" + keytab_entry("LAB", "airflow", "host"))
    content = f"[api]\nauth_backends = airflow.api.auth.backend.kerberos_auth\n[kerberos]\nkeytab = {keytab}\n"

    adopted = settings_of(content)
    by_variable = settings_of(content.replace(str(keytab), "none"), KRB5_KTNAME=f"FILE:{keytab}")
    named = settings_of(content + "[compat_auth]\nkerberos__keytab = /etc/http.keytab\n")

    assert (adopted.kerberos.keytab, adopted.kerberos.service) == (str(keytab), ["airflow"])
    assert by_variable.kerberos.keytab == str(keytab)
    assert (named.kerberos.keytab, named.kerberos.service) == ("/etc/http.keytab", ["HTTP"])


def test_a_service_of_airflow_s_keytab_counts_once_it_has_a_key(tmp_path: Path) -> None:
    keytab = tmp_path / "airflow.keytab"
    keytab.write_bytes(b"\x05\x02" + keytab_entry("LAB", "airflow", "host"))
    content = f"[kerberos]\nkeytab = {keytab}\nprincipal = web/host@LAB\n[compat_auth]\nauth_backends = kerberos\n"

    adopted = settings_of(content)

    assert adopted.kerberos.service == ["airflow"]
    assert adopted.kerberos.service_if_keyed == ["HTTP", "airflow", "web"]


def test_google_s_audience_is_taken_from_where_airflow_2_had_it() -> None:
    content = "[api]\nauth_backends = airflow.providers.google.common.auth_backend.google_openid\n"
    audience = "google_oauth2_audience = old.apps.googleusercontent.com\n"

    adopted = settings_of(content + audience)
    by_variable = settings_of(content, AIRFLOW__API__GOOGLE_OAUTH2_AUDIENCE="other.apps.googleusercontent.com")
    ours = settings_of(content + audience + "[compat_auth]\ngoogle_openid__audience = mine\n")

    assert adopted.google_openid.audience == ["old.apps.googleusercontent.com"]
    assert by_variable.google_openid.audience == ["other.apps.googleusercontent.com"]
    assert ours.google_openid.audience == ["mine"]


@pytest.mark.parametrize("content", ["[api]\nauth_backends =\n", "[compat_auth]\nauth_backends =\n"])
async def test_an_empty_list_starts_airflow_and_the_log_says_that_no_backend_is_active(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    activate(monkeypatch, SimpleAuthManager())
    behind = Behind()

    instance = compose(behind, Conf(content, {}), {"AIRFLOW_HOME": str(tmp_path)})
    password = await call(instance, scope("/api/v2/dags", basic("op", "öp")))

    assert password.status == 401
    assert behind.scopes == []
    assert "no backend is active" in caplog.text


def test_the_log_says_at_the_start_which_backends_are_active_and_what_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    activate(monkeypatch, SimpleAuthManager())
    caplog.set_level("INFO")
    content = "[api]\nauth_backends = airflow.api.auth.backend.basic_auth,session\nauth_backend = deny_all\n"

    compose(Behind(), Conf(content, {}), {"AIRFLOW_HOME": str(tmp_path)})

    lines = [record.getMessage() for record in caplog.records if record.name == "compat_auth.airflow.start_log"]
    assert lines == [
        "compat_auth: backend 1 of 2 is active: basic_auth (airflow.api.auth.backend.basic_auth)",
        "compat_auth: backend 2 of 2 is active: session",
        "compat_auth: no login pages: [compat_auth] session__secret is not set",
        "compat_auth: [api] auth_backend: not used, because [api] auth_backends takes precedence; remove one of the two",
    ]


def test_the_strategy_of_the_plugin_works_in_the_plugin_only() -> None:
    with pytest.raises(ConfigError, match="inside Airflow only"):
        build_strategy(settings_of(OLD_LIST))


async def test_the_gate_stands_around_airflow_s_application(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    activate(monkeypatch, SimpleAuthManager())
    behind = Behind()
    instance = compose(behind, Conf(OLD_LIST, {}), {"AIRFLOW_HOME": str(tmp_path)})

    good = await call(instance, scope("/api/v2/dags", basic("op", "öp")))
    bad = await call(instance, scope("/api/v2/dags", basic("op", "wrong")))
    who = await call(instance, scope("/compat-auth/whoami", basic("op", "öp")))

    assert (good.status, bad.status) == (200, 401)
    assert behind.values(b"authorization") == [b"Bearer simple-op-600"]
    assert json.loads(who.body)["roles"] == ["OP"]


@pytest.mark.parametrize("name", ["no_such_module", "json"])
async def test_a_module_that_cannot_run_never_stops_airflow_and_lets_nobody_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    activate(monkeypatch, SimpleAuthManager())
    behind = Behind()
    old_list = f"[api]\nauth_backends = airflow.api.auth.backend.basic_auth,{name}\n"
    instance = compose(behind, Conf(old_list, {}), {"AIRFLOW_HOME": str(tmp_path)})

    anonymous = {**scope("/api/v2/dags", ""), "headers": [(b"host", b"gateway.example"), (b"x-ticket", b"alice")]}
    health = {**anonymous, "path": "/api/v2/monitor/health", "raw_path": b"/api/v2/monitor/health"}
    password = await call(instance, scope("/api/v2/dags", basic("op", "öp")))
    ticket = await call(instance, anonymous)
    alive = await call(instance, health)

    assert (password.status, ticket.status, alive.status) == (200, 503, 200)
    assert len(behind.scopes) == 2


class FabAuthManager:
    """Known by its name."""

    def __init__(self) -> None:
        self.flask_app = Flask("fab")


class Csrf:
    """Flask-WTF's extension, as far as we ask it."""

    def __init__(self) -> None:
        self.exempted: list[str] = []

    def exempt(self, blueprint: Blueprint) -> None:
        self.exempted.append(blueprint.name)


@pytest.fixture
def fab(monkeypatch: pytest.MonkeyPatch) -> FabAuthManager:
    manager = FabAuthManager()
    activate(monkeypatch, manager)
    monkeypatch.setitem(sys.modules, "airflow.providers.fab.www.extensions.init_session", None)
    return manager


def test_with_fab_the_backends_live_in_fab_s_own_app(fab: FabAuthManager) -> None:
    compose(Behind(), Conf(OLD_LIST, {}), {})

    assert [backend.name for backend in fab.flask_app.extensions["compat_auth"].chain.backends] == ["basic_auth"]


def test_our_forms_and_endpoints_see_to_forgery_themselves_and_need_no_token_of_flask_wtf(
    fab: FabAuthManager, tmp_path: Path
) -> None:
    csrf = fab.flask_app.extensions["csrf"] = Csrf()
    session = f"[compat_auth]\nsession__secret = {'s' * 40}\ndatabase_url = sqlite:///{tmp_path}/state.db\n"
    session += "auth_backends = basic_auth,personal_token\n"

    compose(Behind(), Conf(OLD_LIST, {}), {})
    without_session = list(csrf.exempted)
    fab.flask_app = Flask("fab")
    fab.flask_app.extensions["csrf"] = csrf
    compose(Behind(), Conf(OLD_LIST + session, {}), {})

    assert without_session == []
    assert sorted(csrf.exempted) == ["compat_auth_personal_tokens", "compat_auth_web"]


def scope(path: str, authorization: str) -> Any:
    return {**http_scope(path.encode(), [(b"authorization", authorization.encode())]), "root_path": "", "state": {}}


def imported_plugin(monkeypatch: pytest.MonkeyPatch, conf: object) -> Any:
    """Import the plugin's module anew, in a process of Airflow with this configuration."""
    configuration: Any = ModuleType("airflow.configuration")
    configuration.conf = conf
    manager: Any = ModuleType("airflow.plugins_manager")
    manager.AirflowPlugin = type("AirflowPlugin", (), {"fastapi_root_middlewares": []})
    monkeypatch.setitem(sys.modules, "airflow", ModuleType("airflow"))
    monkeypatch.setitem(sys.modules, configuration.__name__, configuration)
    monkeypatch.setitem(sys.modules, manager.__name__, manager)
    monkeypatch.delitem(sys.modules, "compat_auth.airflow.plugin", raising=False)
    return importlib.import_module("compat_auth.airflow.plugin")


def test_with_nothing_said_the_plugin_registers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = imported_plugin(monkeypatch, Conf("", {}))

    assert plugin.CompatAuthPlugin.name == "compat_auth"
    assert plugin.CompatAuthPlugin.fastapi_root_middlewares == []


def test_what_is_asked_for_is_built_around_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = imported_plugin(monkeypatch, Conf(OLD_LIST, {}))
    activate(monkeypatch, SimpleAuthManager())

    (middleware,) = plugin.CompatAuthPlugin.fastapi_root_middlewares

    assert type(middleware["middleware"](Behind())).__name__ == "AirflowMiddleware"


@pytest.mark.parametrize(("team", "is_said"), [("blue", True), (None, False)])
@pytest.mark.parametrize("multi_team", [True, False])
def test_a_plugin_of_one_team_is_told_that_airflow_leaves_it_out(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    team: str | None,
    is_said: bool,
    multi_team: bool,
) -> None:
    conf: Any = Conf("", {})
    conf.getboolean = lambda *_names, **_options: multi_team
    plugin = imported_plugin(monkeypatch, conf)

    type("TeamPlugin", (plugin.CompatAuthPlugin,), {"team_name": team})

    assert ("install compat_auth without a team" in caplog.text) is (is_said and multi_team)


def test_task_rules_without_their_backend_are_said_to_be_of_no_use(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    rules = '[{"dag": "sales.*", "account": "op", "scopes": ["trigger"]}]'
    content = f"[api]\n[compat_auth]\nauth_backends = basic_auth\nairflow_task__rules = {rules}\n"
    activate(monkeypatch, SimpleAuthManager())

    app = compose(Behind(), Conf(content, {}), {"AIRFLOW_HOME": str(tmp_path)})

    assert type(app).__name__ == "AirflowMiddleware"
    assert "no task can use" in caplog.text


def test_a_configuration_that_cannot_even_be_read_still_closes_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = imported_plugin(monkeypatch, object())

    (middleware,) = plugin.CompatAuthPlugin.fastapi_root_middlewares

    assert isinstance(middleware["middleware"](Behind()), ClosedMiddleware)


async def test_a_door_that_could_not_be_built_does_not_start_and_lets_nobody_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin = imported_plugin(monkeypatch, Conf("[compat_auth]\nauth_backends = basic_auht\n", {}))
    activate(monkeypatch, SimpleAuthManager())
    behind = Behind()
    instance = plugin.stand_before(behind)

    started = await exchange(instance, "lifespan", {"type": "lifespan.startup"})
    answered = await call(instance, scope("/", basic("op", "öp")))
    chatted = await exchange(instance, "websocket", {"type": "websocket.connect"})

    assert started[0]["type"] == "lifespan.startup.failed"
    assert "did you mean 'basic_auth'" in started[0]["message"]
    assert answered.status == 503
    assert b"basic_auht" not in answered.body
    assert chatted == [{"type": "websocket.close", "code": 1011}]
    assert behind.scopes == []


async def exchange(app: Any, kind: str, message: Message) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return message

    async def send(answer: Message) -> None:
        sent.append(answer)

    await app({"type": kind}, receive, send)
    return sent


@pytest.mark.parametrize(
    ("written", "workers"), [("", 1), ("workers = 4", 4), ("workers = 200", 64), ("workers = many", 1)]
)
def test_what_is_counted_is_shared_by_airflow_s_workers(written: str, workers: int) -> None:
    settings = settings_of(f"[api]\n{written}\n")

    assert settings.serve.workers == workers
