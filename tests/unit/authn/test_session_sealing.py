"""The value of a session cookie: its format never changes, or everybody would be logged out by an update."""

from __future__ import annotations

import base64

import pytest

from compat_auth.authn.session_sealing import Session, SessionSealing
from compat_auth.errors import ConfigError, InvalidSession

OLD, NEW = "o" * 32, "n" * 32
NAME = "__Host-compat_auth_session"
SESSION = Session(
    "id", "zoë", "htpasswd", "basic_auth", 1_000_000, 1_000_000, "csrf", "zoë", "zoë@example.org", True, {"a": [1]}
)
# Sealed by an earlier version of this program, with the secret NEW.
SEALED_EARLIER = (
    "1.c99402aa.CejhvViaGLozntSem1TWdG2pljsu1ZdU3EV1Io0cQqbi5eQc87VWhtFVN194dPLoCnF4rc_wtsHTm4b1kUzN46tWyA2oXE-iNF6gEOrA"
    "zbtS08q5itxSQJp2adhRUVraONlbrl3EbcWfxOU6RBNB8NrjdJwt5eQz6QoxtJXw-6F7kntI4QctEdX63wPhysmlIgN5YRyDqPj7MWURS0qKtnrb9_g"
    "Dk-RA3FugVsndoYqVW0_xXcqcqd89nNYYJrfys1A9"
)


def test_what_an_earlier_version_sealed_opens() -> None:
    opened = SessionSealing((NEW,)).open(SEALED_EARLIER, name=NAME)

    assert opened == SESSION


def test_what_is_sealed_now_has_the_same_shape_as_before() -> None:
    sealed = SessionSealing((NEW,)).seal(SESSION, name=NAME)

    assert sealed.split(".")[:2] == SEALED_EARLIER.split(".")[:2]
    assert len(sealed) == len(SEALED_EARLIER)


def test_what_an_older_secret_sealed_opens_and_the_newest_seals() -> None:
    sealing = SessionSealing((OLD, NEW))

    opened, sealed = sealing.open(SEALED_EARLIER, name=NAME), sealing.seal(SESSION, name=NAME)

    assert opened == SESSION
    assert SessionSealing((OLD,)).open(sealed, name=NAME) == SESSION


def test_a_value_for_one_cookie_does_not_open_as_another() -> None:
    with pytest.raises(InvalidSession, match="forged or damaged"):
        SessionSealing((NEW,)).open(SEALED_EARLIER, name="compat_auth_session")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1",
        "1.",
        "1..",
        SEALED_EARLIER.replace("1.c99402aa", "2.c99402aa"),
        SEALED_EARLIER.replace("c99402aa", "C99402AA"),
        SEALED_EARLIER.replace("c99402aa", "c9 94 02 aa"),
        SEALED_EARLIER.replace("c99402aa", "zz"),
        SEALED_EARLIER.replace("c99402aa", ""),
        SEALED_EARLIER + "=",
        SEALED_EARLIER + "A",
        "1.c99402aa.",
        "1.c99402aa." + base64.urlsafe_b64encode(bytes(12)).decode(),
    ],
)
def test_a_value_of_another_spelling_or_content_does_not_open(value: str) -> None:
    with pytest.raises(InvalidSession):
        SessionSealing((NEW,)).open(value, name=NAME)


@pytest.mark.parametrize("position", [12, 20, 100, -1])
def test_a_value_changed_in_any_place_does_not_open(position: int) -> None:
    changed = list(SEALED_EARLIER)
    changed[position] = "A" if changed[position] != "A" else "B"

    with pytest.raises(InvalidSession):
        SessionSealing((NEW,)).open("".join(changed), name=NAME)


@pytest.mark.parametrize("secrets", [(), ("short",), (NEW, "short")])
def test_a_secret_that_is_missing_or_too_short_is_refused(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="openssl rand -base64 48"):
        SessionSealing(secrets)
