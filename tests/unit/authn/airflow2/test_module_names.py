"""Modules at the top of Python's path, where Airflow 2 sites kept an auth backend of their own."""

import importlib
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import flask
import pytest

from compat_auth.authn.registry import load_chain
from compat_auth.backend import Backend
from compat_auth.config import Settings
from compat_auth.config.gateway import TokenSettings
from compat_auth.credentials import Absent, Basic
from compat_auth.errors import BackendNotFound, BackendUnavailable, ConfigError
from compat_auth.extension import CompatAuth
from compat_auth.outcome import Accept
from support.stand_ins import basic

CONTRACT = "def init_app(app):\n    pass\n\n\ndef requires_authentication(function):\n    return function\n"


def test_a_module_without_a_package_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "site_login_for_registry.py").write_text(CONTRACT)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])

    (backend,) = load_chain(Settings(auth_backends=["site_login_for_registry"]))

    assert backend.name == "site_login_for_registry"


def test_a_module_of_our_own_name_does_not_take_our_backend_s_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "deny_all.py").write_text(CONTRACT)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])

    (backend,) = load_chain(Settings(auth_backends=["deny_all"]))

    assert type(backend).__module__ == "compat_auth_backends.deny_all"


@pytest.mark.parametrize("name", ["kerberos", "airflow.api.auth.backend.kerberos_auth"])
def test_a_foreign_module_does_not_stand_in_for_a_backend_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr("compat_auth.authn.registry.installed_backends", dict)
    (tmp_path / "kerberos.py").write_text(CONTRACT)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])

    with pytest.raises(BackendNotFound, match="no backend named 'kerberos'"):
        load_chain(Settings(auth_backends=[name]))


def test_a_module_without_the_contract_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="has no init_app"):
        load_chain(Settings(auth_backends=["colorsys"]))


@pytest.mark.parametrize("name", ["no_such_module", "__main__", "no such module", "sesion"])
def test_a_name_that_means_nothing_stops_the_start(name: str) -> None:
    with pytest.raises(BackendNotFound, match="no backend named"):
        load_chain(Settings(auth_backends=[name]))


Written = Callable[[str], str]
_numbers = count()
NOBODY = "def init_app(app):\n    pass\n"
ADMIN = (
    "from flask import g\n\ndef init_app(app):\n    pass\n\ndef requires_authentication(function):\n"
    "    def decorated(*args, **kwargs):\n        g.user = 'admin'\n        return function(*args, **kwargs)\n    return decorated\n"
)
# Lets in whom a header names, and nobody without it.
TICKET = ADMIN.replace("import g", "import abort, g, request").replace(
    "g.user = 'admin'", "g.user = request.headers.get('Ticket') or abort(401)"
)
LAZY = ADMIN.replace(
    "        g.user",
    "        try:\n            import airflow.jobs\n        except Exception:\n            pass\n        g.user",
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Written]:
    """Write a module, and return a name that no other has."""
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]  # pytest does not type it
    before = set(sys.modules)

    def write(content: str) -> str:
        name = f"site_login_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(content)
        importlib.invalidate_caches()
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def loaded(name: str, **settings: Any) -> Backend:
    (backend,) = load_chain(Settings.model_validate({"auth_backends": [name], **settings}))
    return backend


def ask(backend: Backend, headers: dict[str, str] | None = None) -> object:
    app = flask.Flask("test")
    backend.init_app(app)
    with app.test_request_context(headers=headers):
        return backend.authenticate(Absent())


CANNOT_RUN = {
    "its-import-fails": "import no_such_library\n" + ADMIN,
    "a-name-is-missing": "from json import nothing\n" + ADMIN,
    "it-is-no-python": "def init_app(app:\n",
    "it-raises": "raise RuntimeError('hunter2')\n",
    "it-exits": "import sys\nsys.exit(1)\n",
    "it-raises-what-nobody-catches": "raise BaseException\n",
    "half-of-the-contract": NOBODY,
    "its-start-raises": ADMIN.replace("    pass", "    raise RuntimeError('hunter2')", 1),
    "its-start-exits": ADMIN.replace("    pass", "    raise SystemExit", 1),
    "airflow-is-missing": "try:\n    import airflow.jobs\nexcept ImportError:\n    pass\n" + ADMIN,
    "fab-is-missing": "try:\n    from flask_appbuilder import views\nexcept Exception:\n    pass\n" + ADMIN,
    "airflow-is-missing-later": LAZY,
}


@pytest.mark.parametrize("content", CANNOT_RUN.values(), ids=CANNOT_RUN.keys())
@pytest.mark.parametrize("place", ["shared_secret", "in_process"])
def test_a_module_that_cannot_run_lets_nobody_in_and_stops_no_start(
    written: Written, content: str, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = loaded(written(content), token={"strategy": place})

    with pytest.raises(BackendUnavailable):
        ask(backend)
    with pytest.raises(BackendUnavailable):
        ask(backend)

    said = [record.getMessage() for record in caplog.records if "until then" in record.getMessage()]
    assert len(said) == 1
    assert backend.name in said[0]
    assert "compat-auth check" in said[0]
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("content", [content for name, content in CANNOT_RUN.items() if not name.endswith("later")])
def test_check_says_why_a_module_cannot_run(written: Written, content: str) -> None:
    name = written(content)

    with pytest.raises(ConfigError, match=name) as problem:
        loaded(name).probe()

    assert problem.value.exit_code == 78


def test_a_module_that_runs_is_told_by_check(written: Written) -> None:
    name = written(TICKET)

    plain = loaded(name).probe()
    declared = loaded(name, airflow2_modules={"thread_safe": [name], "ignore_body": name}).probe()

    assert plain == "module for Airflow 2, one request at a time, may read bodies"
    assert declared == "module for Airflow 2, several requests at once, ignores bodies"


def test_check_says_what_stands_in_for_airflow_and_what_is_not_set(written: Written) -> None:
    imports = "from airflow.models import Variable\nfrom airflow.utils.db import provide_session\n"

    told = loaded(written(imports + TICKET)).probe()

    assert "stand-ins for airflow.models.Variable, airflow.utils.db.provide_session" in told
    assert "set [airflow2_modules] read_as" in told
    assert "set [airflow_db] url" in told


@pytest.mark.parametrize("key", ["thread_safe", "ignore_body", "accident"])
def test_a_declaration_about_a_module_that_is_not_in_the_list_is_an_error(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"airflow2_modules.{key}: 'site' is not in auth_backends"):
        loaded("deny_all", airflow2_modules={key: ["site"]})


def test_backends_before_a_module_that_cannot_run_still_decide(written: Written, tmp_path: Path) -> None:
    name = written("raise RuntimeError\n")
    users = tmp_path / "users"
    users.write_text("alice:$2b$04$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy\n")
    users.chmod(0o600)
    app = flask.Flask("test")
    app.config["COMPAT_AUTH"] = {
        "auth_backends": ["basic_auth", name],
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(users)},
    }
    chain = CompatAuth(app).chain

    with app.test_request_context(headers={"Authorization": basic("alice", "wrong")}):
        decided = chain.ask(Basic("alice", "wrong"))
    with app.test_request_context(), pytest.raises(BackendUnavailable, match="cannot run"):
        chain.ask(Absent())

    assert decided.backend == "basic_auth"


@pytest.mark.parametrize("name", ["no_such_module", "acme.no_such_module", "json", "json.nothing"])
def test_inside_airflow_not_even_a_name_that_means_nothing_stops_the_start(name: str) -> None:
    with pytest.raises(BackendUnavailable):
        ask(loaded(name, token=TokenSettings(strategy="in_process")))


def test_inside_airflow_a_misspelt_backend_is_still_an_error() -> None:
    with pytest.raises(BackendNotFound, match="did you mean 'basic_auth'"):
        loaded("basic_auht", token=TokenSettings(strategy="in_process"))


def test_a_class_whose_module_cannot_be_imported_is_still_an_error(written: Written) -> None:
    name = written("import no_such_library\n")

    with pytest.raises(ConfigError, match="needs a module that is not installed: no_such_library"):
        loaded(f"{name}.Login")


def test_a_backend_of_ours_in_a_module_that_is_imported_is_not_executed_again(written: Written) -> None:
    name = written(
        "from compat_auth.backend import Backend\nfrom compat_auth.outcome import Skip\n\nclass Login(Backend):\n    kinds = frozenset()\n"
        "    def authenticate(self, credential):\n        return Skip()\n"
    )
    module = importlib.import_module(name)

    assert type(loaded(f"{name}.Login")) is module.Login


def test_a_module_that_needs_nothing_of_airflow_runs(written: Written) -> None:
    outcome = ask(loaded(written(TICKET)), {"Ticket": "admin"})

    assert isinstance(outcome, Accept)
    assert outcome.identity.username == "admin"
