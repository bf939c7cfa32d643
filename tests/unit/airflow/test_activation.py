"""What in Airflow's configuration switches us on."""

from pathlib import Path

import pytest

from compat_auth.airflow.activation import is_switched_on, old_list, own_variables, user_menu
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


SESSION = "AIRFLOW__COMPAT_AUTH__SESSION__SECRET"
LIST = "[compat_auth]\nauth_backends = session,basic_auth,personal_token\n"


def menu(content: str = "[api]\n", **environ: str) -> list[tuple[str, str]]:
    entries = user_menu(Conf(content, environ), environ)
    assert all((entry["destination"], entry["category"]) == ("nav", "user") for entry in entries)
    return [(entry["name"], entry["href"]) for entry in entries]


@pytest.mark.parametrize("variable", [SESSION, f"{SESSION}_FILE", f"{SESSION}S"])
def test_with_a_login_page_airflows_user_menu_leads_to_tokens_and_sessions(variable: str) -> None:
    found = menu(f"[api]\n{LIST}", **{variable: "s" * 40})

    assert found == [("Personal tokens", "/compat-auth/tokens"), ("Login sessions", "/compat-auth/sessions")]


def test_a_menu_has_no_tokens_where_there_are_none() -> None:
    assert menu("[api]\n[compat_auth]\nauth_backends = session\n", **{SESSION: "s" * 40}) == [
        ("Login sessions", "/compat-auth/sessions")
    ]


def test_without_a_login_page_or_switched_off_there_are_no_entries() -> None:
    assert menu(f"[api]\n{LIST}") == []
    assert menu("[api]\n") == []
    assert menu(f"[api]\n{LIST}enabled = False\n", **{SESSION: "s" * 40}) == []


def test_the_entries_are_below_airflows_own_path_and_our_prefix() -> None:
    content = f"[api]\nbase_url = https://host.example/team/air/\n{LIST}prefix = /gate/\n"

    assert menu(content, **{SESSION: "s" * 40})[1][1] == "/team/air/gate/sessions"


@pytest.mark.parametrize("prefix", ["javascript:alert(1)", "//evil.example/", "/a b/"])
def test_a_prefix_that_is_no_path_makes_no_entries(prefix: str) -> None:
    assert menu(f"[api]\n{LIST}prefix = {prefix}\n", **{SESSION: "s" * 40}) == []


def test_the_file_of_our_settings_counts_and_one_that_cannot_be_read_makes_no_entries(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('auth_backends = ["session", "personal_token"]\nprefix = "/x/"\n[session]\nsecret = "s"\n')
    bad.write_text("[session\n")

    found = [menu(AIRFLOW__COMPAT_AUTH__CONFIG=str(path)) for path in (good, bad, tmp_path / "none")]

    assert found == [[("Personal tokens", "/x/tokens"), ("Login sessions", "/x/sessions")], [], []]
