"""What in Airflow's configuration switches us on."""

import pytest

from compat_auth.airflow.activation import is_switched_on, old_list, own_variables
from compat_auth.airflow2_config.settings import GENERATED
from support.airflow_stand_ins import Conf


def on(content: str = "", **environ: str) -> bool:
    return is_switched_on(Conf(content, environ), environ)


def test_with_nothing_said_there_is_nothing_to_do() -> None:
    assert not on()
    assert not on("[fab]\nauth_rate_limited = True\n[api]\nport = 8080\n", AIRFLOW__FAB__AUTH_RATE_LIMITED="True")


@pytest.mark.parametrize("section", ["api", "fab"])
def test_the_old_list_switches_on_wherever_it_stands(section: str) -> None:
    assert on(f"[{section}]\nauth_backends = a\n")
    assert on(**{f"AIRFLOW__{section.upper()}__AUTH_BACKENDS": "a"})


@pytest.mark.parametrize("key", ["auth_backend", "AUTH_BACKEND", "auth_backends"])
def test_both_spellings_of_the_old_list_switch_on(key: str) -> None:
    assert on(f"[api]\n{key} = airflow.api.auth.backend.deny_all\n")
    assert on(**{f"AIRFLOW__API__{key.upper()}": "airflow.api.auth.backend.deny_all"})


def test_the_line_that_airflow_3_writes_by_itself_means_nothing() -> None:
    written = f"[fab]\nauth_backends = {GENERATED}\n"
    conf = Conf(written, {})

    assert not on(written)
    assert old_list(conf, {}) is None


def test_a_list_that_somebody_has_chosen_counts_although_it_says_the_same() -> None:
    assert on(f"[api]\nauth_backends = {GENERATED}\n")
    assert on(AIRFLOW__FAB__AUTH_BACKENDS=GENERATED)
    assert on(f"[fab]\nauth_backends = {GENERATED},airflow.api.auth.backend.basic_auth\n")
    assert on(f"[fab]\nauth_backends = {GENERATED}\n[api]\nauth_backend = airflow.api.auth.backend.deny_all\n")


def test_any_setting_of_ours_switches_on() -> None:
    assert on("[compat_auth]\nbasic_auth__realm = Here\n")
    assert on(AIRFLOW__COMPAT_AUTH__BASIC_AUTH__REALM="Here")


def test_a_clear_no_switches_off_whatever_else_is_said() -> None:
    assert not on("[compat_auth]\nenabled = False\nbasic_auth__realm = Here\n[fab]\nauth_backends = a\n")
    assert not on("[compat_auth]\nenabled = True\n", AIRFLOW__COMPAT_AUTH__ENABLED="false")


def test_an_unclear_no_is_a_yes_so_that_it_is_complained_about() -> None:
    assert on("[compat_auth]\nenabled = nope\n")


def test_the_old_list_of_the_api_goes_before_that_of_fab() -> None:
    conf = Conf("[api]\nauth_backends = a\n[fab]\nauth_backends = b\n", {})

    assert old_list(conf, {}) == "a"


def test_the_environment_goes_before_the_file() -> None:
    environ = {"AIRFLOW__COMPAT_AUTH__MODE": "strict", "AIRFLOW__COMPAT_AUTH__TOKEN__TTL_S": "60", "OTHER": "x"}
    conf = Conf("[compat_auth]\nmode = airflow2\nbasic_auth__realm = Here\n", environ)

    assert own_variables(conf, environ) == {
        "AIRFLOW__COMPAT_AUTH__MODE": "strict",
        "AIRFLOW__COMPAT_AUTH__TOKEN__TTL_S": "60",
        "AIRFLOW__COMPAT_AUTH__BASIC_AUTH__REALM": "Here",
    }
