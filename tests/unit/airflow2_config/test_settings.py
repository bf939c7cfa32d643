"""What is read in the configuration of an old Airflow: in which order, and what is seen and not used."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_auth.airflow2_config.settings import OldSettings, read_airflow_cfg


def old(tmp_path: Path, content: str = "", **environ: str) -> OldSettings:
    cfg = tmp_path / "airflow.cfg"
    cfg.write_text(content, encoding="utf-8")
    return read_airflow_cfg(str(cfg), environ)


def chosen(settings: OldSettings) -> str | None:
    written = settings.find_list()
    return None if written is None else written.text


@pytest.mark.parametrize(
    ("content", "environ", "expected"),
    [
        ("[api]\nauth_backend = a\n", {}, "a"),
        ("[api]\nauth_backend = a\nauth_backends = b\n", {}, "b"),
        ("[api]\nauth_backends = b\n", {"AIRFLOW__API__AUTH_BACKEND": "c"}, "c"),
        ("[api]\nauth_backends = b\n", {"AIRFLOW__API__AUTH_BACKEND": "c", "AIRFLOW__API__AUTH_BACKENDS": "d"}, "d"),
        ("[fab]\nauth_backends = e\n", {}, "e"),
        ("[fab]\nauth_backends = e\n[api]\nauth_backend = a\n", {"AIRFLOW__FAB__AUTH_BACKENDS": "f"}, "a"),
        ("[api]\nauth_backends = b\n", {"AIRFLOW__API__AUTH_BACKENDS": ""}, "b"),
        ("[api]\nauth_backends =\n[fab]\nauth_backends = e\n", {}, "e"),
        ("[api]\nauth_backends =\n", {}, ""),
        ("[webserver]\nauth_backends = a\n", {}, None),
    ],
)
def test_the_list_is_found_as_airflow_2_found_it(
    tmp_path: Path, content: str, environ: dict[str, str], expected: str | None
) -> None:
    assert chosen(old(tmp_path, content, **environ)) == expected


def test_variables_and_percent_signs_in_a_value_are_airflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_BACKEND", "site_auth")
    monkeypatch.setenv("LAB_ENDLESS", "x$LAB_ENDLESS")

    expanded = chosen(old(tmp_path, "[api]\nauth_backend = $LAB_BACKEND,100%%\n"))
    endless = chosen(old(tmp_path, "[api]\nauth_backend = $LAB_ENDLESS\n"))

    assert expanded == "site_auth,100%"
    assert endless is not None
    assert endless.endswith("$LAB_ENDLESS")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert chosen(old(tmp_path, "\ufeff[api]\nauth_backend = a\n")) == "a"


@pytest.mark.parametrize(
    ("content", "environ", "expected"),
    [
        ("[api]\nauth_backends = a\nauth_backend = b\n", {}, ["[api] auth_backend: not used, because"]),
        ("[api]\nauth_backends = a\n[fab]\nauth_backends = b\n", {}, ["[fab] auth_backends: not used, because"]),
        ("[api]\nauth_backends = a\n", {"AIRFLOW__API__AUTH_BACKEND": "b"}, ["[api] auth_backends: not used"]),
        ("", {"AIRFLOW__API__AUTH_BACKENDS_CMD": "cat x"}, ["$AIRFLOW__API__AUTH_BACKENDS_CMD: not used"]),
        ("[api]\nauth_backend_secret = x\n", {}, ["[api] auth_backend_secret: not used"]),
        ("[webserver]\nauthenticate = True\nauth_backend = x\n", {}, ["authenticate: not", "auth_backend: not"]),
        ("[api]\ngoogle_key_path = /k.json\n", {}, ["[api] google_key_path: not used; only Airflow's own client"]),
        ("[webserver]\nauthenticate = False\n[ldap]\nuri =\n[api]\nenable_experimental_api = False\n", {}, []),
        ("[api]\nauth_backends = a\n[core]\nfernet_key = k\n", {}, []),
    ],
)
def test_an_option_that_is_seen_and_has_no_effect_is_named(
    tmp_path: Path, content: str, environ: dict[str, str], expected: list[str]
) -> None:
    lines = list(old(tmp_path, content, **environ).unused())

    assert len(lines) == len(expected)
    assert all(text in line for text, line in zip(expected, lines, strict=True))
