"""Find backends by the names that a configuration may use."""

from __future__ import annotations

import pytest

from compat_auth.authn.chain import Chain
from compat_auth.authn.registry import AIRFLOW_NAMES, installed_backends, load_chain
from compat_auth.config import parse_settings
from compat_auth.errors import BackendNotFound, ConfigError


def names(*backends: str) -> list[str]:
    return [backend.name for backend in load_chain(parse_settings({"auth_backends": list(backends)}, origin="t"))]


def test_ours_are_installed_by_entry_point() -> None:
    assert {"basic_auth", "session", "deny_all"} <= set(installed_backends())


@pytest.mark.parametrize("name", [name for name, ours in AIRFLOW_NAMES.items() if ours in ("session", "deny_all")])
def test_airflows_own_name_stands_for_ours(name: str) -> None:
    assert names(name) == [AIRFLOW_NAMES[name]]


def test_a_dotted_class_is_a_backend() -> None:
    assert names("compat_auth_backends.deny_all.DenyAllBackend") == ["compat_auth_backends.deny_all.DenyAllBackend"]


def test_a_dotted_module_with_airflow_2s_contract_is_a_backend() -> None:
    assert names("compat_auth_backends.deny_all") == ["compat_auth_backends.deny_all"]


@pytest.mark.parametrize(
    ("backends", "message"),
    [
        ((), "empty"),
        (("",), "empty"),
        (("session", ""), r"auth_backends\[1\]: empty name"),
        (("session", "airflow.api.auth.backend.session"), r"auth_backends\[1\].*already"),
        (("json",), "no init_app"),
        (("no_such_module",), "no backend named"),
        (("sesion",), "did you mean 'session'"),
        (("json.decoder",), "no init_app"),
        (("nowhere.at.all",), "neither a module nor a class"),
        (("json.nothing",), "neither a module nor a class"),
        (("json.dumps",), "not a class or module"),
        ((".relative",), "neither a module nor a class"),
        (("a..b",), "neither a module nor a class"),
    ],
)
def test_a_chain_with_a_hole_is_never_served(backends: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        names(*backends)


def test_an_unknown_name_is_told_apart() -> None:
    with pytest.raises(BackendNotFound):
        names("nowhere")


@pytest.mark.parametrize(
    ("session", "challenges"),
    [
        ("session", ("Basic",)),
        ("airflow.api.auth.backend.session", ("Basic",)),
        ("airflow.providers.fab.auth_manager.api.auth.backend.session", ()),
    ],
)
def test_mode_airflow2_knows_the_name_of_session_that_airflow_2_looked_for(
    session: str, challenges: tuple[str, ...]
) -> None:
    settings = parse_settings(
        {"auth_backends": [session, "basic_auth"], "mode": "airflow2", "upstream": {"url": "http://127.0.0.1:1"}},
        origin="test",
    )

    assert Chain(load_chain(settings), settings.mode).challenges() == challenges
