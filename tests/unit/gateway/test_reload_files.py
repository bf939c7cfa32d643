"""When a change of a configuration's files counts, and which files those are."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_auth.cli import serve
from compat_auth.cli.serving.configuration import read_and_watch
from compat_auth.cli.serving.named_files import named_files, require_readable, watched_files
from compat_auth.config import Settings
from compat_auth.errors import ConfigError
from compat_auth.gateway.service.file_watch import QUIET_S, FileWatch


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_change_counts_once_and_only_after_it_is_quiet(tmp_path: Path) -> None:
    file, clock = tmp_path / "file", Clock()
    file.write_text("one")
    watch = FileWatch([file], clock)
    found = [watch.has_changed()]

    for text in ("two", "three!"):
        file.write_text(text)
        found.append(watch.has_changed())
        clock.now += QUIET_S / 2
    found.append(watch.has_changed())
    clock.now += QUIET_S
    found += [watch.has_changed(), watch.has_changed()]

    assert found == [False, False, False, False, True, False]


def test_a_file_that_goes_comes_or_gets_another_mode_has_changed(tmp_path: Path) -> None:
    file, clock, found = tmp_path / "file", Clock(), []
    watch = FileWatch([file], clock)

    for change in (lambda: file.write_text("one"), lambda: file.chmod(0o640), file.unlink):
        change()
        watch.has_changed()
        clock.now += QUIET_S
        found.append(watch.has_changed())

    assert found == [True, True, True]


def settings_of(**content: object) -> Settings:
    return Settings.model_validate(content)


def test_the_files_of_all_sections_and_tables_are_found(tmp_path: Path) -> None:
    settings = settings_of(
        htpasswd={"file": "/h"},
        token={"key_file": "/k", "trusted_jwks": ["/j"]},
        upstream={"verify": "/v"},
        audit={"file": "/audit"},
        oidc={"issuers": [{"issuer": "https://i", "audience": ["a"], "ca_file": "/c"}]},
    )

    found = named_files(settings)
    watched = watched_files(settings, "/config", {"COMPAT_AUTH_TOKEN__SECRET_FILE": "/s", "OTHER_FILE": "/o"})

    assert found == {
        "htpasswd.file": Path("/h"),
        "token.key_file": Path("/k"),
        "token.trusted_jwks[0]": Path("/j"),
        "upstream.verify": Path("/v"),
        "oidc.issuers[0].ca_file": Path("/c"),
    }
    # What is read again by itself needs no reload.
    assert watched == (Path("/config"), Path("/s"), Path("/v"), Path("/j"), Path("/c"))
    del tmp_path


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "h").write_text("")

    require_readable(settings_of(htpasswd={"file": str(tmp_path / "h")}))
    with pytest.raises(ConfigError, match=r"htpasswd\.file: .*: no such file"):
        require_readable(settings_of(htpasswd={"file": str(tmp_path)}))


def test_what_is_saved_while_the_settings_are_read_is_read_or_counts_as_a_change(tmp_path: Path) -> None:
    file = tmp_path / "compat_auth.toml"
    texts = iter(["b", "cc"])

    def read() -> Settings:
        audience = file.read_text() if file.exists() else "a"
        if (text := next(texts, None)) is not None:
            # Somebody saves it just after it was read.
            file.write_text(text)
        return Settings.model_validate({"serve": {"watch": True}, "token": {"audience": audience}})

    settings, watch = read_and_watch(read, str(file))

    assert watch is not None
    assert settings.token.audience == "b"
    moments = iter([0.0, 2 * QUIET_S])
    watch._monotonic = lambda: next(moments)
    assert [watch.has_changed(), watch.has_changed()] == [False, True]


def test_nobody_watches_files_that_nobody_wants_watched(tmp_path: Path) -> None:
    settings = Settings()

    assert read_and_watch(lambda: settings, str(tmp_path / "compat_auth.toml")) == (settings, None)


def test_a_file_that_was_not_there_at_the_start_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMPAT_AUTH_CONFIG", raising=False)
    at_the_start = serve._read(None)
    (tmp_path / "compat_auth.toml").write_text('mode = "airflow2"')

    with pytest.raises(ConfigError, match="was not there when the service started; restart"):
        serve._read(None)

    assert at_the_start.mode == "strict"


def test_a_jwks_that_is_a_file_is_watched_and_a_token_that_changes_every_hour_is_not() -> None:
    rules = [
        {"issuer": "https://i.example", "audience": "a", "claims": {"sub": "x"}, "account": "etl", "scopes": ["all"]}
        | more
        for more in ({"jwks": "/etc/keys.json"}, {"jwks": "https://i.example/jwks", "token_file": "/run/token"})
    ]
    settings = Settings.model_validate({"workloads": rules})

    watched = watched_files(settings, None, {})

    assert Path("/etc/keys.json") in watched
    assert Path("/run/token") in named_files(settings).values()
    assert Path("/run/token") not in watched
