"""Every source of a setting, and what is said when one is wrong."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from compat_auth.config import Settings, load_settings, parse_settings
from compat_auth.errors import ConfigError

SECRET = "hunter2" * 10


@pytest.fixture(autouse=True)
def no_file_of_the_developer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def refused(environ: dict[str, str] | None = None, path: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environ or {})
    return str(caught.value)


def test_without_any_source_everything_has_its_default() -> None:
    settings = load_settings(environ={})

    assert settings == Settings()
    assert settings.trusted_proxies == []
    assert settings.mode == "strict"
    assert settings.token.ttl_s == 600


def test_a_file_that_is_named_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", 'mode = "airflow2"\n[token]\nttl_s = 60\n')

    settings = load_settings(path, {})

    assert (settings.mode, settings.token.ttl_s) == ("airflow2", 60)


def test_the_environment_names_the_file_when_nobody_else_does(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", 'mode = "airflow2"')

    assert load_settings(environ={"COMPAT_AUTH_CONFIG": path}).mode == "airflow2"


def test_a_named_file_wins_over_the_one_in_the_environment(tmp_path: Path) -> None:
    named = write(tmp_path / "a.toml", 'prefix = "/named/"')
    other = write(tmp_path / "b.toml", 'prefix = "/other/"')

    assert load_settings(named, {"COMPAT_AUTH_CONFIG": other}).prefix == "/named/"


def test_the_file_in_the_working_directory_is_the_last_choice(tmp_path: Path) -> None:
    write(tmp_path / "compat_auth.toml", 'prefix = "/here/"')
    other = write(tmp_path / "b.toml", 'prefix = "/other/"')

    assert load_settings(environ={}).prefix == "/here/"
    assert load_settings(environ={"COMPAT_AUTH_CONFIG": other}).prefix == "/other/"


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPAT_AUTH_MODE", "airflow2")

    assert load_settings().mode == "airflow2"


def test_the_environment_wins_over_the_file_key_by_key(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", '[token]\nttl_s = 60\naudience = "file"\n')

    settings = load_settings(path, {"COMPAT_AUTH_TOKEN__TTL_S": "70"})

    assert (settings.token.ttl_s, settings.token.audience) == (70, "file")


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "secret", f"{SECRET}\n")

    settings = load_settings(environ={"COMPAT_AUTH_TOKEN__SECRET_FILE": path, "COMPAT_AUTH_REDIS_URL_FILE": path})

    assert settings.token.secret.get_secret_value() == SECRET
    assert settings.redis_url.get_secret_value() == SECRET


def test_a_secret_in_the_environment_wins_over_its_file_and_both_over_toml(tmp_path: Path) -> None:
    file = write(tmp_path / "secret", "from-file")
    toml = write(tmp_path / "a.toml", '[token]\nsecret = "from-toml"\n')
    environ = {"COMPAT_AUTH_TOKEN__SECRET_FILE": file}

    by_file = load_settings(toml, environ)
    by_variable = load_settings(toml, {**environ, "COMPAT_AUTH_TOKEN__SECRET": "from-variable"})

    assert by_file.token.secret.get_secret_value() == "from-file"
    assert by_variable.token.secret.get_secret_value() == "from-variable"


def test_a_key_that_ends_in_file_by_itself_names_a_file() -> None:
    settings = load_settings(environ={"COMPAT_AUTH_TOKEN__KEY_FILE": "k.json", "COMPAT_AUTH_HTPASSWD__FILE": "h"})

    assert (settings.token.key_file, settings.htpasswd.file) == ("k.json", "h")


def test_only_a_secret_is_read_from_a_file() -> None:
    assert "mode_file" in refused({"COMPAT_AUTH_MODE_FILE": "/etc/hostname"})


@pytest.mark.parametrize("name", ["COMPAT_AUTH_NOWHERE__SECRET_FILE", "COMPAT_AUTH_MODE__SECRET_FILE"])
def test_a_file_for_a_section_that_is_none_is_an_unknown_key(name: str) -> None:
    assert refused({name: "/etc/hostname"})


def test_a_secret_file_that_is_missing_is_named() -> None:
    message = refused({"COMPAT_AUTH_TOKEN__SECRET_FILE": "/nowhere/secret"})

    assert "COMPAT_AUTH_TOKEN__SECRET_FILE: /nowhere/secret" in message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('moode = "strict"', "did you mean 'mode'?"),
        ("[upstream]\nurll = 'x'", "did you mean 'url'?"),
        ("[zzzz]\na = 1", "known here: "),
    ],
)
def test_an_unknown_key_in_the_file_is_refused_with_a_hint(tmp_path: Path, text: str, hint: str) -> None:
    path = write(tmp_path / "a.toml", text)

    message = refused(path=path)

    assert message.startswith(path)
    assert hint in message


def test_an_unknown_key_in_the_environment_is_refused_by_its_name_there() -> None:
    message = refused({"COMPAT_AUTH_UPSTREAM__URLL": "x"})

    assert "COMPAT_AUTH_UPSTREAM__URLL" in message
    assert "did you mean 'url'?" in message


def test_the_variable_for_the_log_level_is_no_setting() -> None:
    assert load_settings(environ={"COMPAT_AUTH_LOG_LEVEL": "DEBUG"}) == Settings()


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"COMPAT_AUTH_UPSTREAM": "x", "COMPAT_AUTH_UPSTREAM__URL": "y"}, id="section-is-a-text"),
        pytest.param({"COMPAT_AUTH_MODE__X": "x", "COMPAT_AUTH_MODE": "strict"}, id="key-is-a-section"),
    ],
)
def test_a_key_that_is_both_section_and_text_is_refused(environ: dict[str, str]) -> None:
    assert refused(environ)
    assert refused(dict(reversed(environ.items())))


def test_a_variable_of_somebody_else_is_left_alone() -> None:
    assert load_settings(environ={"COMPAT_AUTHX": "1", "PATH": "/bin"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "read"),
    [
        ("COMPAT_AUTH_AUTH_BACKENDS", "session, basic_auth", ["session", "basic_auth"]),
        ("COMPAT_AUTH_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1", ["10.0.0.0/8", "192.0.2.1/32"]),
        ("COMPAT_AUTH_TRUSTED_PROXIES", "", []),
    ],
)
def test_a_list_in_the_environment_is_a_comma_string(variable: str, text: str, read: list[str]) -> None:
    settings = load_settings(environ={variable: text})

    assert getattr(settings, variable.removeprefix("COMPAT_AUTH_").lower()) == read


def test_every_list_in_a_section_may_be_a_comma_string_too() -> None:
    settings = load_settings(
        environ={
            "COMPAT_AUTH_UPSTREAM__PROTECT": "/api/, /other/",
            "COMPAT_AUTH_UPSTREAM__IDENTITY_COOKIES": "_token",
            "COMPAT_AUTH_TOKEN__TRUSTED_JWKS": "a.json,b.json",
            "COMPAT_AUTH_BASIC_AUTH__DIRECTORIES": "htpasswd,airflow_db",
        }
    )

    assert settings.upstream.protect == ["/api/", "/other/"]
    assert settings.upstream.identity_cookies == ["_token"]
    assert settings.token.trusted_jwks == ["a.json", "b.json"]
    assert settings.basic_auth.directories == ["htpasswd", "airflow_db"]


@pytest.mark.parametrize(("text", "read"), [("true", True), ("False", False), ("/ca.pem", "/ca.pem")])
def test_verify_in_the_environment_is_a_truth_or_a_file(text: str, read: bool | str) -> None:
    settings = load_settings(environ={"COMPAT_AUTH_UPSTREAM__VERIFY": text})

    assert settings.upstream.verify == read


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "1.2.3.4/0"])
def test_a_network_that_trusts_everybody_is_refused(network: str) -> None:
    with pytest.raises(ConfigError, match="trusts every address"):
        parse_settings({"trusted_proxies": [network]}, origin="a.toml")


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        parse_settings({"trusted_proxies": ["proxy.example"]}, origin="a.toml")


def test_a_value_out_of_range_names_file_key_and_variable(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", "[token]\nttl_s = 5\n[basic_auth]\ncache_ttl_s = 601\n")

    message = refused(path=path)

    assert f"{path}: token.ttl_s (or $COMPAT_AUTH_TOKEN__TTL_S)" in message
    assert "basic_auth.cache_ttl_s" in message


@pytest.mark.parametrize(
    ("name", "text"), [("missing.toml", None), ("broken.toml", "mode ="), ("latin.toml", b"mode = '\xff'")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str | bytes | None) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    assert name in refused(path=str(path))


@pytest.mark.parametrize("section", ["api", "fab"])
def test_the_chain_may_stand_in_an_airflow_cfg(tmp_path: Path, section: str) -> None:
    cfg = write(tmp_path / "airflow.cfg", f"[core]\nfernet_key = %%a%b\n[{section}]\nauth_backends = a.b, session\n")

    settings = load_settings(environ={"COMPAT_AUTH_AIRFLOW_CFG": cfg})

    assert settings.auth_backends == ["a.b", "session"]


def test_our_own_list_wins_over_the_airflow_cfg(tmp_path: Path) -> None:
    cfg = write(tmp_path / "airflow.cfg", "[api]\nauth_backends = a.b\n")

    settings = load_settings(environ={"COMPAT_AUTH_AIRFLOW_CFG": cfg, "COMPAT_AUTH_AUTH_BACKENDS": "session"})

    assert settings.auth_backends == ["session"]


@pytest.mark.parametrize(
    ("text", "hint"), [("[api]\nx = 1\n", "no auth_backends"), ("no section\n", "cannot be read"), (None, "cannot")]
)
def test_an_airflow_cfg_without_a_chain_is_refused(tmp_path: Path, text: str | None, hint: str) -> None:
    cfg = tmp_path / "airflow.cfg"
    if text is not None:
        write(cfg, text)

    assert hint in refused({"COMPAT_AUTH_AIRFLOW_CFG": str(cfg)})


@pytest.mark.parametrize("variable", ["AIRFLOW__API__AUTH_BACKENDS", "AIRFLOW__FAB__AUTH_BACKENDS"])
def test_airflows_own_variable_is_the_chain_when_nothing_else_is(variable: str, tmp_path: Path) -> None:
    own = write(tmp_path / "a.toml", 'auth_backends = ["session"]')
    environ = {variable: "airflow.api.auth.backend.basic_auth"}

    assert load_settings(environ=environ).auth_backends == ["airflow.api.auth.backend.basic_auth"]
    assert load_settings(own, environ).auth_backends == ["session"]


@pytest.mark.parametrize("key", ["AUTH_BACKENDS", "AUTH_BACKEND"])
def test_airflows_variable_wins_over_the_airflow_cfg_as_in_airflow_2(tmp_path: Path, key: str) -> None:
    cfg = write(tmp_path / "airflow.cfg", "[api]\nauth_backends = session\n")
    environ = {"COMPAT_AUTH_AIRFLOW_CFG": cfg, f"AIRFLOW__API__{key}": "x.y"}

    assert load_settings(environ=environ).auth_backends == ["x.y"]


def test_an_airflow_cfg_of_1_10_has_the_chain_by_its_old_name(tmp_path: Path) -> None:
    cfg = write(tmp_path / "airflow.cfg", "[api]\nauth_backend = airflow.api.auth.backend.deny_all\n")

    assert load_settings(environ={"COMPAT_AUTH_AIRFLOW_CFG": cfg}).auth_backends == [
        "airflow.api.auth.backend.deny_all"
    ]


def test_what_googles_backend_read_in_an_airflow_cfg_is_taken_over(tmp_path: Path) -> None:
    chain = "auth_backends = airflow.providers.google.common.auth_backend.google_openid"
    cfg = write(tmp_path / "airflow.cfg", f"[api]\n{chain}\ngoogle_oauth2_audience = 100%%.example\n")
    environ = {"COMPAT_AUTH_AIRFLOW_CFG": cfg}

    from_file = load_settings(environ=environ)
    from_variable = load_settings(environ={**environ, "AIRFLOW__API__GOOGLE_OAUTH2_AUDIENCE": "b"})
    ours = load_settings(environ={**environ, "COMPAT_AUTH_GOOGLE_OPENID__AUDIENCE": "c"})

    assert from_file.google_openid.audience == ["100%.example"]
    assert from_variable.google_openid.audience == ["b"]
    assert ours.google_openid.audience == ["c"]


def test_what_the_kerberos_backend_read_in_an_airflow_cfg_is_taken_over(tmp_path: Path) -> None:
    content = "[api]\nauth_backend = airflow.api.auth.backend.kerberos_auth\n[kerberos]\nprincipal = web/host@LAB\n"
    cfg = write(tmp_path / "airflow.cfg", content + "keytab = $LAB_KEYS/a.keytab\n")
    environ = {"COMPAT_AUTH_AIRFLOW_CFG": cfg}

    from_file = load_settings(environ=environ)
    from_environment = load_settings(environ={**environ, "KRB5_KTNAME": "FILE:/etc/b.keytab"})
    ours = load_settings(environ={**environ, "COMPAT_AUTH_KERBEROS__KEYTAB": "/etc/c.keytab"})

    assert from_file.kerberos.keytab == "$LAB_KEYS/a.keytab"
    assert from_file.kerberos.service_if_keyed == ["HTTP", "airflow", "web"]
    assert from_environment.kerberos.keytab == "/etc/b.keytab"
    assert (ours.kerberos.keytab, ours.kerberos.service) == ("/etc/c.keytab", ["HTTP"])


def test_a_keytab_of_airflows_is_nothing_to_a_chain_without_kerberos(tmp_path: Path) -> None:
    cfg = write(tmp_path / "airflow.cfg", "[api]\nauth_backends = session\n[kerberos]\nkeytab = /a.keytab\n")

    assert load_settings(environ={"COMPAT_AUTH_AIRFLOW_CFG": cfg}).kerberos.keytab == ""


def test_no_secret_shows_in_the_settings() -> None:
    settings = parse_settings(
        {
            "database_url": f"postgresql://u:{SECRET}@h/d",
            "redis_url": SECRET,
            "token": {"secret": SECRET},
            "airflow_db": {"url": SECRET},
        },
        origin="a.toml",
    )

    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"token": {"secret": SECRET, "ttl_s": 1}}, id="beside-a-wrong-value"),
        pytest.param({"token": {"secret": [SECRET]}}, id="of-a-wrong-type"),
        pytest.param({"token": {"secrett": SECRET}}, id="under-a-wrong-name"),
        pytest.param({"token": SECRET}, id="instead-of-a-section"),
    ],
)
def test_no_secret_shows_in_an_error_or_its_traceback(content: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(content, origin="a.toml")

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_settings_of_a_third_party_backend_pass_as_they_are() -> None:
    settings = parse_settings({"backends": {"mine": {"anything": [1]}}}, origin="a.toml")

    assert settings.backends["mine"] == {"anything": [1]}


def test_a_table_from_the_environment_is_a_json_object_and_keeps_its_case() -> None:
    settings = load_settings(environ={"COMPAT_AUTH_UPSTREAM__ROLES": '{"Alice": "ADMIN"}'})

    assert settings.upstream.roles == {"Alice": "ADMIN"}
    with pytest.raises(ConfigError, match="not a JSON object"):
        load_settings(environ={"COMPAT_AUTH_UPSTREAM__ROLES": "Alice=ADMIN"})


@pytest.mark.parametrize("name", ["COMPAT_AUTH_AUTH_BACKENDS__X_FILE", "COMPAT_AUTH_AUTH_BACKENDS__X__Y"])
def test_a_key_below_a_list_is_a_mistake_that_is_named(name: str) -> None:
    message = refused({name: "a"})

    assert "COMPAT_AUTH_AUTH_BACKENDS" in message


def test_an_entry_whose_name_ends_like_a_files_is_an_entry() -> None:
    settings = load_settings(environ={"COMPAT_AUTH_UPSTREAM__ROLES__MY_FILE": "OP"})

    assert settings.upstream.roles == {"my_file": "OP"}


@pytest.mark.parametrize("prefixes", [[], ["api/"], [""]])
def test_a_fence_around_nothing_is_refused(prefixes: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"upstream\.protect"):
        parse_settings({"upstream": {"protect": prefixes}}, origin="test")


def test_dots_in_the_claims_of_a_workload_go_down_into_objects(tmp_path: Path) -> None:
    file = tmp_path / "compat_auth.toml"
    file.write_text(
        '[[workloads]]\nissuer = "https://k"\naudience = "a"\naccount = "b"\nscopes = ["read"]\n'
        'claims = { "kubernetes.io".namespace = "etl", "a.b" = true, resource_access.x.roles = ["y"] }\n'
    )

    (table,) = load_settings(str(file), {}).workloads

    assert table.claims == {
        "kubernetes.io": {"namespace": "etl"},
        "a.b": True,
        "resource_access": {"x": {"roles": ["y"]}},
    }
