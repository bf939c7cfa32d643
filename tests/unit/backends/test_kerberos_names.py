"""From principal to user, without a KDC."""

from __future__ import annotations

import sys

import pytest

from compat_auth.authn.registry import load_chain
from compat_auth.authn.users.directories import load_directories
from compat_auth.config import parse_settings
from compat_auth.errors import ConfigError
from compat_auth_backends.kerberos_names import Principals, parse_mapping

OWN = "EXAMPLE.ORG"
ANY = Principals(frozenset(), parse_mapping("strip_realm"))


@pytest.mark.parametrize(
    "principal",
    [
        pytest.param("alice@OTHER.ORG", id="another-realm"),
        pytest.param("alice@example.org", id="realm-in-lower-case"),
        pytest.param("alice@EXAMPLE.ORG@OTHER.ORG", id="realm-in-the-name"),
        pytest.param("alice\\@OTHER.ORG@EXAMPLE.ORG", id="escaped-at"),
        pytest.param("alice\\/admin@EXAMPLE.ORG", id="escaped-slash"),
        pytest.param("alice\\n@EXAMPLE.ORG", id="escaped-line-end"),
        pytest.param("alice\x01@EXAMPLE.ORG", id="control-character"),
        pytest.param("@EXAMPLE.ORG", id="no-name"),
        pytest.param("alice", id="no-realm"),
        pytest.param("alice@", id="empty-realm"),
        pytest.param("", id="empty"),
        pytest.param("WELLKNOWN/ANONYMOUS@EXAMPLE.ORG", id="anonymous"),
        pytest.param("WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS", id="wholly-anonymous"),
    ],
)
def test_a_principal_that_could_pass_for_another_is_not_admitted(principal: str) -> None:
    assert not ANY.admit(principal, own_realm=OWN)


@pytest.mark.parametrize("principal", ["alice@EXAMPLE.ORG", "jürgen@EXAMPLE.ORG", "alice/admin@EXAMPLE.ORG"])
def test_a_principal_of_our_own_realm_is_admitted(principal: str) -> None:
    assert ANY.admit(principal, own_realm=OWN)


def test_a_list_of_realms_says_it_all_and_ours_has_to_be_in_it() -> None:
    listed = Principals(frozenset({"OTHER.ORG"}), parse_mapping("full"))

    assert listed.admit("alice@OTHER.ORG", own_realm=OWN)
    assert not listed.admit("alice@EXAMPLE.ORG", own_realm=OWN)


@pytest.mark.parametrize(
    ("mapping", "principal", "username"),
    [
        ("strip_realm", "alice@EXAMPLE.ORG", "alice"),
        ("strip_realm", "alice/admin@EXAMPLE.ORG", "alice/admin"),
        ("full", "alice@EXAMPLE.ORG", "alice@EXAMPLE.ORG"),
        (r"([a-z]+)@EXAMPLE\.ORG=\1", "alice@EXAMPLE.ORG", "alice"),
        (r"([a-z]+)@EXAMPLE\.ORG=\1", "alice@EXAMPLE.ORGANISM", None),
        (r"([a-z]+)@EXAMPLE\.ORG=\1", "alice/admin@EXAMPLE.ORG", None),
        (r"(.*)/admin@.*=admin-\1 ; (.*)@.*=\1", "alice/admin@EXAMPLE.ORG", "admin-alice"),
        (r"(.*)/admin@.*=admin-\1 ; (.*)@.*=\1", "alice@EXAMPLE.ORG", "alice"),
        (r"(?=a)(\w+)@.*=\1", "alice@EXAMPLE.ORG", "alice"),
        (r"(x*)alice@.*=\1", "alice@EXAMPLE.ORG", None),
    ],
)
def test_a_mapping_makes_the_name_of_the_user(mapping: str, principal: str, username: str | None) -> None:
    assert Principals(frozenset(), parse_mapping(mapping)).username(principal) == username


@pytest.mark.parametrize("mapping", ["", " ; ", "strip", "=x", "(=x", r"a=\1", "a;b=c"])
def test_a_mapping_that_is_none_stops_the_start(mapping: str) -> None:
    with pytest.raises(ConfigError, match=r"kerberos\.name_mapping"):
        parse_mapping(mapping)


def test_two_realms_without_a_rule_stop_the_start() -> None:
    settings = parse_settings({"kerberos": {"realms": ["A", "B"]}}, origin="test")

    with pytest.raises(ConfigError, match="one user of alice@A and alice@B"):
        Principals.from_settings(settings)


@pytest.fixture
def no_gssapi(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith(
            ("gssapi", "compat_auth_backends.kerberos_acceptor", "compat_auth_backends.directories.kinit")
        ):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "compat_auth_backends.kerberos", raising=False)
    monkeypatch.setitem(sys.modules, "gssapi", None)


def test_without_gssapi_the_start_names_the_extra(no_gssapi: None) -> None:
    settings = parse_settings({"auth_backends": ["kerberos"]}, origin="test")

    with pytest.raises(ConfigError, match="with its extra 'kerberos'"):
        load_chain(settings)


def test_without_gssapi_the_directory_names_the_extra(no_gssapi: None) -> None:
    settings = parse_settings({}, origin="test")

    with pytest.raises(ConfigError, match="with its extra 'kerberos'"):
        load_directories(["kinit"], settings)
