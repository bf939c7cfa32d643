"""Modules at the top of Python's path, where Airflow 2 sites kept an auth backend of their own."""

import sys
from pathlib import Path

import pytest

from compat_auth.config import Settings
from compat_auth.errors import BackendNotFound, ConfigError
from compat_auth.registry import load_chain

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
    monkeypatch.setattr("compat_auth.registry.installed_backends", dict)
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
