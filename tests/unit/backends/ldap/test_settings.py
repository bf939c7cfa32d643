"""What `[ldap]` and `[pam]` may say, and what is refused at the start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from compat_auth.authn.users.directories import load_directories
from compat_auth.config import load_settings, parse_settings
from compat_auth.directory import HashDirectory, PasswordDirectory, UserDirectory
from compat_auth.errors import ConfigError
from compat_auth_backends.directories import pam_worker
from compat_auth_backends.directories.ldap import LdapDirectory
from compat_auth_backends.directories.pam import PamDirectory

RIGHT = {"url": "ldaps://ldap.example.org", "base": "ou=people,dc=example,dc=org"}


def ldap_of(**changed: Any) -> LdapDirectory:
    return LdapDirectory.from_settings(parse_settings({"ldap": {**RIGHT, **changed}}, origin="test"))


def test_an_ldap_directory_checks_passwords_and_looks_up_names() -> None:
    directory: object = ldap_of()

    assert isinstance(directory, PasswordDirectory)
    assert isinstance(directory, UserDirectory)
    assert not isinstance(directory, HashDirectory)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"url": "ldap://a, ldaps://b:636"}, id="several"),
        pytest.param({"url": ["ldap://a"], "start_tls": True}, id="starttls"),
        pytest.param({"url": "ldap://a", "start_tls": False, "allow_plaintext": True}, id="plaintext-on-purpose"),
        pytest.param({"url": "ldapi://%2Frun%2Fslapd", "start_tls": False}, id="socket"),
        pytest.param({"roles": {"cn=a,dc=b": "Admin"}, "member_of": "memberOf"}, id="roles"),
        pytest.param({"user_filter": "(&(|(uid={username})(mail={username}))(!(locked=TRUE)))"}, id="long-filter"),
    ],
)
def test_settings_that_make_sense_are_taken(changed: dict[str, Any]) -> None:
    assert ldap_of(**changed).name == "ldap"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"url": ""}, r"ldap\.url: empty", id="no-url"),
        pytest.param({"url": "https://a"}, "not an LDAP URL", id="scheme"),
        pytest.param({"url": "ldaps://a/dc=b?uid"}, "only a host and a port", id="base-in-url"),
        pytest.param({"url": "ldaps://u:secret@a"}, "only a host and a port", id="password-in-url"),
        pytest.param({"url": "ldap://a", "start_tls": False}, "would travel unencrypted", id="plaintext"),
        pytest.param({"url": "ldaps://a,ldap://b", "start_tls": False}, "ldap://b: passwords would", id="one-plaintext"),
        pytest.param({"base": ""}, r"ldap\.base: empty", id="no-base"),
        pytest.param({"bind_dn": "cn=a"}, "needs bind_password", id="bind-without-password"),
        pytest.param({"bind_password": "secret"}, "needs bind_password", id="password-without-dn"),
        pytest.param({"ca_file": "/nowhere/ca.pem"}, "no such file", id="ca-file"),
        pytest.param({"user_filter": "(uid=*)"}, "everybody would be found", id="filter-without-name"),
        pytest.param({"user_filter": "(uid={username}"}, "is not a search filter", id="filter-not-closed"),
        pytest.param({"user_filter": "(uid={username})\0"}, "contains NUL", id="filter-with-nul"),
        pytest.param({"disabled_filter": "(a=b"}, r"disabled_filter.*not a search filter", id="disabled-filter"),
        pytest.param({"group_base": "dc=a", "group_filter": "(cn=*)"}, "names neither", id="group-filter"),
        pytest.param({"roles": {"cn=a,dc=b": "Admin"}}, "no groups are read", id="roles-without-groups"),
        pytest.param({"roles": {"admins": "Admin"}, "member_of": "memberOf"}, "is not a DN", id="role-of-no-dn"),
    ],
)  # fmt: skip
def test_settings_that_do_not_are_refused_at_the_start(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ldap_of(**changed)

    assert "secret" not in str(caught.value)


def test_the_bind_password_can_be_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")

    settings = load_settings(environ={"COMPAT_AUTH_LDAP__BIND_PASSWORD_FILE": str(tmp_path / "password")})

    assert settings.ldap.bind_password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)


def test_without_python_ldap_the_start_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "compat_auth_backends.directories.ldap")
    monkeypatch.setitem(sys.modules, "ldap", None)

    with pytest.raises(ConfigError, match="with its extra 'ldap'"):
        load_directories(["ldap"], parse_settings({"ldap": RIGHT}, origin="test"))


@pytest.mark.parametrize("service", ["", "login", "other", "../login", "a/b", ".hidden", "a\0b", "-a"])
def test_a_pam_service_that_is_missing_or_not_ours_is_refused(service: str) -> None:
    with pytest.raises(ConfigError, match=r"pam\.service"):
        PamDirectory.from_settings(parse_settings({"pam": {"service": service}}, origin="test"))


def test_a_pam_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    settings = parse_settings({"pam": {"service": "ours", "confdir": str(tmp_path / "missing")}}, origin="test")

    with pytest.raises(ConfigError, match="no such folder"):
        PamDirectory.from_settings(settings)


@pytest.mark.parametrize("fault", ["missing", "old"])
def test_a_machine_without_a_pam_that_will_do_is_told_so(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = parse_settings({"pam": {"service": "ours", "confdir": str(tmp_path)}}, origin="test")
    if fault == "missing":
        monkeypatch.setattr(pam_worker, "LIBRARY", "libpam_of_nowhere.so.0")
    else:
        monkeypatch.setattr(pam_worker, "has_folders", bool)
        monkeypatch.setattr(pam_worker, "load_library", list)

    with pytest.raises(ConfigError, match="install Linux-PAM" if fault == "missing" else "older than 1.4"):
        PamDirectory.from_settings(settings)
