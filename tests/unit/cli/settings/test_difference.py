"""`compat-auth import --diff` shows each setting that changes, and no secret, however the old file is written."""

from __future__ import annotations

import pytest

from compat_auth.cli.settings.difference import difference


@pytest.mark.parametrize(
    "before",
    [
        pytest.param('token.secret = "canary"', id="dotted"),
        pytest.param('session = { secret = "canary" }', id="inline-table"),
        pytest.param('[session]\nsecrets = [\n  "canary",\n  "canary2",\n]', id="lines"),
        pytest.param('[oidc]\nissuers = [{ issuer = "x", client_secret = "canary" }]', id="table-in-list"),
        pytest.param('[backends.acme]\nshared = "canary"', id="backend"),
        pytest.param('[backends.acme]\nlist = [["canary"]]', id="backend-list"),
        pytest.param('[ldap]\n"bind_password" = "canary"', id="quoted-key"),
        pytest.param('[ldap]\nbind_password = """\ncanary\n"""', id="multi-line-text"),
        pytest.param('database_url = "postgresql://a:canary@db/a"', id="url"),
        pytest.param('[ldap]\nurl = ["ldap://x:canary@y"]', id="url-in-list"),
        pytest.param('[secrets]\na = "canary"', id="unknown-section"),
        pytest.param('[other.client_secret]\nvalue = "canary"', id="table-of-a-secret"),
        pytest.param('[other]\nheader = "Authorization: Bearer canary"', id="header"),
        pytest.param('token.secret = "canary', id="no-toml"),
        pytest.param('token.secret = "canary"\ntoken.secret = "canary"', id="twice"),
    ],
)
def test_no_secret_is_shown(before: str) -> None:
    new = before.replace("canary", "canary-new")

    shown = [difference(before, after, "c.toml") for after in ("", 'mode = "airflow2"\n')]
    if not before.endswith('"canary') and before.count("token.secret") < 2:
        shown += [difference("", before, "c.toml"), difference(before, new, "c.toml")]

    assert "canary" not in "".join(shown)
    assert all(shown)


def test_a_secret_that_changes_is_marked() -> None:
    shown = difference('token.secret = "one"\n', '[token]\nsecret = "two"\n', "c.toml")

    assert '-token.secret = "(hidden)"\n' in shown
    assert '+token.secret = "(hidden)"  # changed\n' in shown


def test_settings_without_secrets_are_shown() -> None:
    shown = difference('[token]\nstrategy = "exchange"\n', 'auth_backends = ["a"]\ntoken.ttl_s = 5\n', "c.toml")

    assert '-token.strategy = "exchange"\n' in shown
    assert '+auth_backends = ["a"]\n' in shown
    assert "+token.ttl_s = 5\n" in shown


def test_the_same_settings_written_in_another_way_do_not_differ() -> None:
    shown = difference('token.secret = "one"\n', '# new\n[token]\nsecret = "one"\n', "c.toml")

    assert shown == ""
