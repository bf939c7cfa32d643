"""Passwords and users in real OpenLDAP servers."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ldap
import pytest

from compat_auth.authn.passwords.hash_pool import HashPool
from compat_auth.concurrency.circuit_breaker import PATIENCE_S
from compat_auth.credentials import Basic
from compat_auth.directory import DirectoryUser, PasswordAccepted
from compat_auth.errors import BackendUnavailable, Overloaded
from compat_auth.outcome import Accept, Reject
from compat_auth_backends.basic_auth import BasicAuthBackend
from compat_auth_backends.directories.ldap import LdapDirectory
from compat_auth_backends.ldap.bind import reason_in
from compat_auth_backends.ldap.connection_pool import ALONE_PAUSE_S
from support.peers.authority import Authority
from support.peers.process import free_port
from support.peers.slapd import GROUPS, LOCKED_S, MAX_FAILURES, USERS, Slapd, dn_of

pytestmark = pytest.mark.peer

ALICE = DirectoryUser("alice", email="alice@example.org", roles=("Admin", "User", "Viewer"))
MAY_LOG_IN = ["alice", "bob", "Dora", "jürgen", "carol*(x)", "back\\slash", "twin1"]


@pytest.fixture
def directory(slapd: Slapd) -> Iterator[LdapDirectory]:
    directory = LdapDirectory(slapd.settings())
    yield directory
    directory.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen(64)
        yield listener.getsockname()[1]


def checked(directory: LdapDirectory, name: str, password: str | None = None) -> DirectoryUser | None:
    accepted = directory.check(name, USERS[name] if password is None else password)
    return accepted.user if accepted else None


@pytest.mark.parametrize("name", MAY_LOG_IN)
def test_the_right_password_lets_a_user_in_and_another_does_not(name: str, directory: LdapDirectory) -> None:
    right, wrong = checked(directory, name), checked(directory, name, USERS[name] + "x")

    assert right is not None
    assert right.username == name
    assert wrong is None


def test_an_answer_has_address_and_roles_of_the_groups(directory: LdapDirectory) -> None:
    assert directory.check("alice", USERS["alice"]) == PasswordAccepted(ALICE)
    assert directory.find("alice") == ALICE


@pytest.mark.parametrize("typed", ["ALICE", "Alice", " alice "])
def test_a_name_is_spelled_as_the_entry_spells_it(typed: str, directory: LdapDirectory) -> None:
    assert directory.find(typed) == ALICE
    assert directory.find("dORA") == DirectoryUser("Dora", email="Dora@example.org", roles=("User", "Viewer"))


@pytest.mark.parametrize(
    "name",
    [
        "*", "ali*", "*)(uid=*", "alice)(uid=*", "*)(objectClass=*))(|(uid=x", "alice\0", "\0", "alice*", "(alice)",
        "\\61lice", "\\2a", "*)(|(userPassword=*)", "uid=alice", dn_of("alice"), "", " ", "\ud800", "a" * 257, "ali\nce",
    ],
)  # fmt: skip
def test_a_name_that_is_an_attack_finds_nobody_and_lets_nobody_in(name: str, directory: LdapDirectory) -> None:
    assert directory.find(name) is None
    assert directory.check(name, USERS["alice"]) is None


@pytest.mark.parametrize("name", [*MAY_LOG_IN, "nobody", ""])
@pytest.mark.parametrize("password", ["", "\0", "wonder:land\0"])
def test_no_password_and_one_with_nul_are_never_sent(
    name: str, password: str, slapd: Slapd, directory: LdapDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def send(dn: str, _password: str) -> bool:
        sent.append(dn)
        return True

    monkeypatch.setattr(directory, "_bind", send)

    assert directory.check(name, password) is None
    assert sent == []


@pytest.mark.parametrize("name", ["disabled", "locked", "expired", "grace", "reset"])
def test_a_user_who_may_not_log_in_is_refused_with_the_right_password(name: str, directory: LdapDirectory) -> None:
    assert directory.check(name, USERS[name]) is None


class LetsEverybodyIn:
    """A later directory with other passwords, of the same people."""

    name = "later"

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        del password
        return PasswordAccepted(DirectoryUser(username))


@pytest.mark.parametrize("name", ["disabled", "locked", "expired", "grace", "reset"])
def test_a_user_who_may_not_log_in_is_let_in_by_no_later_directory(name: str, directory: LdapDirectory) -> None:
    backend = BasicAuthBackend((directory, LetsEverybodyIn()), pool=HashPool(1, max_waiting=8))

    refused = backend.authenticate(Basic(name, USERS[name]))

    assert isinstance(refused, Reject)
    assert refused.reason.startswith("ldap: ")


@pytest.mark.parametrize("name", ["disabled", "locked"])
def test_a_user_who_is_switched_off_is_let_in_by_no_later_directory_with_its_password(
    name: str, directory: LdapDirectory
) -> None:
    backend = BasicAuthBackend((directory, LetsEverybodyIn()), pool=HashPool(1, max_waiting=8))

    refused = backend.authenticate(Basic(name, "the password of the later directory"))

    assert isinstance(refused, Reject)


@pytest.mark.parametrize("name", ["twin2", "nobody"])
def test_a_wrong_password_and_an_unknown_name_are_the_next_directorys_to_judge(
    name: str, directory: LdapDirectory
) -> None:
    backend = BasicAuthBackend((directory, LetsEverybodyIn()), pool=HashPool(1, max_waiting=8))

    accepted = backend.authenticate(Basic(name, "the password of the later directory"))

    assert isinstance(accepted, Accept)


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v2580", ""),
        ("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 525, v2580", ""),
        ("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 533, v2580", "user is disabled"),
        ("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 775, v2580", "locked"),
        ("80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 701, v2580", "account expired"),
        ("password expired!", "password expired"),
        ("Account inactivated. Contact system administrator.", "user is disabled"),
        ("Exceed password retry limit. Please try later.", "locked"),
        ("", ""),
    ],
)
def test_what_active_directory_and_389_say_of_a_user_who_may_not_log_in_is_understood(info: str, reason: str) -> None:
    api: Any = ldap
    error = api.INVALID_CREDENTIALS({"result": 49, "desc": "Invalid credentials", "ctrls": [], "info": info})

    assert reason_in(error) == reason


@pytest.mark.parametrize("name", ["disabled", "locked"])
def test_a_user_who_is_switched_off_is_known_as_such(name: str, directory: LdapDirectory) -> None:
    user = directory.find(name)

    assert user is not None
    assert user.active is False


def test_two_entries_for_one_name_are_nobody(slapd: Slapd) -> None:
    directory = LdapDirectory(slapd.settings(user_filter="(|(uid={username})(mail={username}))"))

    assert directory.check("twins@example.org", "twin") is None
    assert directory.find("twins@example.org") == DirectoryUser("twins@example.org", active=False)
    assert directory.find("alice@example.org") == ALICE


@pytest.mark.parametrize("name", ["two", "zwei"])
def test_an_entry_with_two_names_is_nobody(name: str, directory: LdapDirectory) -> None:
    assert directory.find(name) is None
    assert directory.check(name, "two") is None


@pytest.mark.parametrize("typed", ["Ada", "ada", "lovelace", "LOVELACE", "gräfin"])
def test_an_entry_with_several_names_is_one_user_called_as_its_dn_says(typed: str, directory: LdapDirectory) -> None:
    found = directory.find(typed)

    assert found is not None
    assert found.username == "Ada"
    assert checked(directory, typed, "engine") == found
    assert checked(directory, typed, "wrong") is None


def test_an_entry_whose_names_are_not_in_its_dn_is_named_in_the_log(
    directory: LdapDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    directory.check("zwei", "two")

    assert "cn=two,ou=people" in caplog.text
    assert "more than one uid" in caplog.text


def test_a_lock_out_holds_against_the_right_password_and_ends(directory: LdapDirectory) -> None:
    for _ in range(MAX_FAILURES):
        directory.check("lockout", "wrong")

    locked = checked(directory, "lockout")
    deadline = time.monotonic() + 20 * LOCKED_S
    while (again := checked(directory, "lockout")) is None and time.monotonic() < deadline:
        time.sleep(0.2)

    assert locked is None
    assert again is not None


def test_groups_are_found_by_a_search_as_well(slapd: Slapd) -> None:
    directory = LdapDirectory(slapd.settings(member_of="", group_base=GROUPS, group_filter="(member={dn})"))

    assert directory.find("alice") == ALICE
    assert directory.find("carol*(x)") == DirectoryUser("carol*(x)", roles=("Admin",))
    assert directory.find("back\\slash") == DirectoryUser("back\\slash")


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"base": "ou=nowhere,dc=example,dc=org"}, id="base"),
        pytest.param({"group_base": "ou=nowhere,dc=example,dc=org"}, id="group-base"),
        pytest.param({"bind_password": "wrong"}, id="bind-password"),
    ],
)
def test_a_wrong_setting_is_unavailable_and_no_refusal(changed: dict[str, Any], slapd: Slapd) -> None:
    directory = LdapDirectory(slapd.settings(**changed))

    with pytest.raises(BackendUnavailable) as caught:
        directory.check("alice", USERS["alice"])

    assert "wonder:land" not in str(caught.value)
    assert "service-pässwörd" not in str(caught.value)


def test_an_anonymous_search_that_sees_nothing_lets_nobody_in(slapd: Slapd) -> None:
    directory = LdapDirectory(slapd.settings(bind_dn="", bind_password=""))

    with pytest.raises(BackendUnavailable):
        directory.check("alice", USERS["alice"])


def test_ldaps_is_as_good_as_starttls(slapd: Slapd) -> None:
    directory = LdapDirectory(slapd.settings(url=[slapd.tls_url], start_tls=False))

    assert directory.find("alice") == ALICE


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_server_that_wants_encryption_gets_it_or_nothing(
    encrypted: bool, authority: Authority, tmp_path: Path
) -> None:
    server = Slapd(tmp_path, authority, authority.sign("strict"), requires_tls=True)
    server.start()
    directory = LdapDirectory(server.settings(start_tls=encrypted, allow_plaintext=True))

    try:
        if encrypted:
            assert directory.find("alice") == ALICE
        else:
            with pytest.raises(BackendUnavailable):
                directory.check("alice", USERS["alice"])
    finally:
        server.stop()


@pytest.mark.parametrize("scheme", ["url", "tls_url"])
@pytest.mark.parametrize("fault", ["unknown-authority", "another-host"])
def test_a_certificate_is_checked_whatever_the_environment_says(
    fault: str, scheme: str, slapd: Slapd, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDAPTLS_REQCERT", "never")
    server, ca_file = slapd, Authority(tmp_path, "stranger").ca_file
    if fault == "another-host":
        folder = tmp_path / "other"
        folder.mkdir()
        server, ca_file = Slapd(folder, authority, authority.sign("other", "192.0.2.7")), authority.ca_file
        server.start()
    directory = LdapDirectory(server.settings(url=[getattr(server, scheme)], ca_file=str(ca_file)))

    try:
        with pytest.raises(BackendUnavailable):
            directory.check("alice", USERS["alice"])
        assert "certificate" in directory.problems()[0]
    finally:
        if server is not slapd:
            server.stop()


def test_check_finds_no_fault_with_a_server_that_works(directory: LdapDirectory, slapd: Slapd) -> None:
    plain = LdapDirectory(slapd.settings(start_tls=False, allow_plaintext=True))

    assert directory.problems() == []
    assert plain.problems() == [f"{slapd.url}: passwords travel unencrypted; set [ldap] start_tls = true"]


def test_searches_and_binds_never_share_a_connection(slapd: Slapd) -> None:
    directory = LdapDirectory(slapd.settings(search_connections=1, bind_connections=1))

    answers = [(checked(directory, "alice"), directory.find("bob")) for _ in range(3)]

    # Were the search's connection bound as alice, who may read nothing, bob would not be found.
    assert all(alice == ALICE and bob is not None for alice, bob in answers)


def test_a_connection_that_broke_while_it_was_idle_is_replaced_at_once(slapd: Slapd, directory: LdapDirectory) -> None:
    directory.check("alice", USERS["alice"])
    with slapd.stopped():
        pass

    assert checked(directory, "alice") == ALICE


def test_a_server_that_is_down_is_no_refusal_and_is_asked_again_when_it_is_back(
    slapd: Slapd, directory: LdapDirectory
) -> None:
    with slapd.stopped():
        for _ in range(3):
            with pytest.raises(BackendUnavailable):
                directory.check("alice", USERS["alice"])
            with pytest.raises(BackendUnavailable):
                directory.check("alice", "wrong")
    time.sleep(ALONE_PAUSE_S)

    assert checked(directory, "alice") == ALICE


def test_the_second_server_answers_while_the_first_is_down(slapd: Slapd, second_slapd: Slapd) -> None:
    directory = LdapDirectory(slapd.settings(url=[slapd.url, second_slapd.url]))
    before = checked(directory, "alice")

    with slapd.stopped():
        meanwhile = [checked(directory, "alice") for _ in range(5)]
        wrong = checked(directory, "alice", "wrong")
    with second_slapd.stopped():
        time.sleep(ALONE_PAUSE_S)
        afterwards = checked(directory, "alice")

    assert [before, *meanwhile, afterwards] == [ALICE] * 7
    assert wrong is None


def test_restarts_under_load_let_nobody_wrong_in_and_recover(slapd: Slapd) -> None:
    directory = LdapDirectory(slapd.settings(timeout_s=2))
    stop = threading.Event()
    answers: list[str] = []

    def ask() -> str:
        try:
            user = checked(directory, "bob")
        except BackendUnavailable:
            return "unavailable"
        return user.username if user else "refused"

    def keep_asking() -> None:
        while not stop.wait(0.01):
            answers.append(ask())

    with ThreadPoolExecutor(6) as pool:
        for _ in range(6):
            pool.submit(keep_asking)
        for _ in range(2):
            time.sleep(0.5)
            with slapd.stopped():
                time.sleep(0.5)
        time.sleep(ALONE_PAUSE_S + 0.5)
        recovered_at = len(answers)
        time.sleep(0.5)
        stop.set()

    assert set(answers) == {"bob", "unavailable"}
    assert set(answers[recovered_at:]) == {"bob"}


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_a_server_that_says_nothing_holds_a_caller_no_longer_than_its_time(
    scheme: str, slapd: Slapd, silent_port: int
) -> None:
    directory = LdapDirectory(slapd.settings(url=[f"{scheme}://127.0.0.1:{silent_port}"], timeout_s=0.5))
    began = time.monotonic()

    with pytest.raises(BackendUnavailable):
        directory.check("alice", USERS["alice"])

    assert time.monotonic() - began < 3


def test_a_first_server_that_says_nothing_costs_its_time_once(slapd: Slapd, silent_port: int) -> None:
    directory = LdapDirectory(slapd.settings(url=[f"ldap://127.0.0.1:{silent_port}", slapd.url], timeout_s=1))
    directory.check("alice", USERS["alice"])
    began = time.monotonic()

    answers = [checked(directory, "alice") for _ in range(10)]

    assert answers == [ALICE] * 10
    assert time.monotonic() - began < 1


def test_more_callers_than_connections_wait_for_their_turn(slapd: Slapd) -> None:
    directory = LdapDirectory(slapd.settings(search_connections=2, bind_connections=1))

    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(checked, directory, name) for name in MAY_LOG_IN * 20]
        answers = [one.result(30) for one in asked]

    assert [user.username for user in answers if user] == MAY_LOG_IN * 20


def test_a_caller_does_not_wait_for_ever_for_its_turn(slapd: Slapd, silent_port: int) -> None:
    directory = LdapDirectory(
        slapd.settings(url=[f"ldap://127.0.0.1:{silent_port}"], search_connections=1, timeout_s=0.5)
    )

    def ask() -> str:
        try:
            directory.find("alice")
        except BackendUnavailable as error:
            return type(error).__name__
        return "answered"

    with ThreadPoolExecutor(4) as pool:
        answers = {future.result(10) for future in [pool.submit(ask) for _ in range(4)]}

    assert answers <= {BackendUnavailable.__name__, Overloaded.__name__}


def test_a_forked_process_opens_connections_of_its_own_and_leaves_the_parents_alone(
    slapd: Slapd, directory: LdapDirectory
) -> None:
    directory.check("alice", USERS["alice"])

    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if checked(directory, "alice") == ALICE else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert checked(directory, "alice") == ALICE


def test_a_server_that_freezes_costs_one_login_of_the_process_its_time_and_later_ones_nothing(
    slapd: Slapd, second_slapd: Slapd
) -> None:
    settings = slapd.settings(url=[slapd.url, second_slapd.url])
    directories = [LdapDirectory(settings) for _ in range(2)]
    # Kept connections to search and to bind, in both.
    assert [checked(directory, "alice") for directory in directories * 2] == [ALICE] * 4

    with slapd.process.frozen():
        began = time.monotonic()
        first = checked(directories[0], "alice")
        first_s = time.monotonic() - began
        later = [checked(directory, name) for name in ("alice", "bob") for directory in directories]
        later_s = time.monotonic() - began - first_s
        wrong = checked(directories[1], "alice", "wrong")

    for directory in directories:
        directory.close()
    assert first == ALICE
    assert first_s < settings.timeout_s + 1
    assert ([user.username for user in later if user], wrong) == (["alice", "alice", "bob", "bob"], None)
    assert later_s < 1


def test_while_the_only_server_is_frozen_few_wait_and_the_others_are_told_at_once(slapd: Slapd) -> None:
    directory = LdapDirectory(slapd.settings())
    assert checked(directory, "alice") == ALICE

    def timed() -> tuple[str, float]:
        began = time.monotonic()
        with pytest.raises(BackendUnavailable):
            directory.check("alice", USERS["alice"])
        return "unavailable", time.monotonic() - began

    with slapd.process.frozen(), ThreadPoolExecutor(24) as callers:
        early = [callers.submit(timed) for _ in range(12)]
        time.sleep(PATIENCE_S)
        during = [timed() for _ in range(5)]
        waits = [one.result() for one in early]
        afterwards = [timed() for _ in range(5)]
    time.sleep(ALONE_PAUSE_S + 0.1)

    healed = checked(directory, "alice")
    directory.close()
    assert max(took_s for _, took_s in during) < 0.3
    assert sorted(took_s for _, took_s in afterwards)[-2] < 0.3
    assert max(took_s for _, took_s in waits) < 2 * 3 + 1
    assert healed == ALICE
