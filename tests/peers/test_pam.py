"""Passwords that real PAM modules check."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import flask
import psutil
import pytest

from compat_auth.directory import DirectoryUser, PasswordAccepted, UserRefused
from compat_auth.errors import BackendUnavailable, Overloaded
from compat_auth_backends.directories.pam import PamDirectory
from support.peers.pam import PASSWORDS, Pam

pytestmark = pytest.mark.peer

Make = Callable[..., PamDirectory]
WHO = PASSWORDS["alice"]


@pytest.fixture
def make(pam: Pam) -> Iterator[Make]:
    """Make directories for services of the folder; their processes end with the test."""
    made: list[PamDirectory] = []

    def make_one(service: str, *, max_waiting: int = 64, **changed: object) -> PamDirectory:
        made.append(PamDirectory(pam.settings(service, **changed), max_waiting=max_waiting))
        return made[-1]

    yield make_one
    for directory in made:
        directory.close()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def answer(directory: PamDirectory, name: str, password: str) -> str:
    try:
        accepted = directory.check(name, password)
    except BackendUnavailable as error:
        return type(error).__name__
    return accepted.user.username if accepted else "refused"


@pytest.mark.parametrize("service", ["userdb", "matrix"])
@pytest.mark.parametrize("name", ["alice", "jürgen"])
def test_the_right_password_lets_a_user_in_and_another_does_not(service: str, name: str, make: Make) -> None:
    directory = make(service)

    right, wrong = directory.check(name, PASSWORDS[name]), directory.check(name, "wrong")

    assert right == PasswordAccepted(DirectoryUser(name))
    assert wrong is None


@pytest.mark.parametrize("service", ["userdb", "matrix", "script", "other"])
@pytest.mark.parametrize("name", ["nobody", "al", "alice ", "../alice", "alice\0", "", "\ud800", "a" * 5000])
def test_whom_pam_does_not_know_is_refused(service: str, name: str, make: Make) -> None:
    directory = make(service)

    assert directory.check(name, WHO) is None


@pytest.mark.parametrize("password", ["", "\0", f"{WHO}\0", f"{WHO}\0x"])
def test_no_password_and_one_with_nul_are_refused_even_by_a_service_that_permits_all(password: str, make: Make) -> None:
    permits, matrix = make("permit"), make("matrix")

    assert permits.check("alice", "anything") is not None
    assert permits.check("alice", password) is None
    assert matrix.check("alice", password) is None


def test_the_account_is_asked_about_after_the_password(make: Make) -> None:
    directory = make("script")

    assert answer(directory, "someone", "someone-password") == "someone"
    assert answer(directory, "expired", "expired-password") == "refused"


def test_an_account_that_pam_refuses_is_told_from_a_wrong_password(make: Make) -> None:
    directory = make("script")

    assert isinstance(directory.decide("expired", "expired-password"), UserRefused)
    assert directory.decide("expired", "wrong") is None


def test_a_module_sees_the_clients_address_and_the_service(make: Make, pam: Pam) -> None:
    directory = make("script")

    with flask.Flask("test").test_request_context(environ_base={"REMOTE_ADDR": "2001:db8::7"}):
        accepted = directory.check("zoe", "zoe-password")

    assert accepted is not None
    assert pam.seen.read_text().splitlines()[-1] == "2001:db8::7 script"


@pytest.mark.parametrize("service", ["broken", "empty"])
def test_a_module_that_cannot_work_is_unavailable_and_no_refusal(service: str, make: Make) -> None:
    directory = make(service)

    with pytest.raises(BackendUnavailable) as caught:
        directory.check("alice", WHO)

    assert WHO not in str(caught.value)


def test_a_service_that_is_not_there_is_what_other_says_and_check_tells(make: Make) -> None:
    directory = make("nowhere")

    assert answer(directory, "alice", WHO) == "refused"
    assert "no such file, so PAM would take 'other'" in directory.problems()[0]
    assert make("matrix").problems() == []


def test_a_service_file_that_others_may_write_is_a_problem(make: Make, pam: Pam) -> None:
    (pam.confdir / "open").write_text("auth required pam_deny.so\n")
    (pam.confdir / "open").chmod(0o666)

    assert "others may write" in make("open").problems()[0]


def test_a_hanging_module_is_killed_with_what_it_has_started(make: Make) -> None:
    before = children()
    directory = make("hanging", timeout_s=1)
    began = time.monotonic()

    outcome = answer(directory, "alice", WHO)

    assert outcome == "BackendUnavailable"
    assert time.monotonic() - began < 10
    assert children() == before


def test_while_a_module_hangs_later_callers_are_told_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compat_auth_backends.directories.pam._PATIENCE_S", 0.5)
    directory = make("hanging", timeout_s=2)

    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(answer, directory, "alice", WHO)
        time.sleep(0.7)
        began = time.monotonic()
        later = answer(directory, "jürgen", WHO)
        later_s = time.monotonic() - began
        first = hanging.result()

    assert (first, later) == ("BackendUnavailable", "Overloaded")
    assert later_s < 0.3


def test_slow_refusals_hold_one_process_each_and_nobody_else(make: Make) -> None:
    slow, quick = make("slow", workers=2), make("matrix")
    began = time.monotonic()

    with ThreadPoolExecutor(8) as pool:
        refusals = [pool.submit(answer, slow, f"user{number}", "wrong") for number in range(4)]
        time.sleep(0.2)
        meanwhile = answer(quick, "alice", WHO)
        waiting = [refusal for refusal in refusals if not refusal.done()]
        refused = [refusal.result(30) for refusal in refusals]

    assert meanwhile == "alice"
    assert waiting
    assert refused == ["refused"] * 4
    # Two at once, so two rounds; pam_faildelay takes 1 to 3 s.
    assert time.monotonic() - began > 2


def test_more_than_may_wait_are_told_to_come_again(make: Make) -> None:
    directory = make("slow", workers=1, max_waiting=1)

    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(answer, directory, "alice", "wrong") for _ in range(6)]
        answers = [one.result(30) for one in asked]

    assert answers.count(Overloaded.__name__) == 4
    assert answers.count("refused") == 2


def test_many_callers_each_get_their_own_answer(make: Make) -> None:
    directory = make("matrix", workers=3)
    asked = [("alice", WHO), ("alice", "wrong"), ("jürgen", PASSWORDS["jürgen"]), ("nobody", WHO)] * 20

    with ThreadPoolExecutor(12) as pool:
        answers = [one.result(30) for one in [pool.submit(answer, directory, *pair) for pair in asked]]

    assert answers == ["alice", "refused", "jürgen", "refused"] * 20


def test_no_more_processes_than_configured_and_none_after_close(make: Make) -> None:
    before = children()
    directory = make("matrix", workers=2)

    with ThreadPoolExecutor(8) as pool:
        for asked in [pool.submit(directory.check, "alice", WHO) for _ in range(40)]:
            asked.result(30)
    during = children() - before
    directory.close()

    assert 1 <= len(during) <= 2
    assert children() == before
    assert answer(directory, "alice", WHO) == "alice"


def test_a_process_that_dies_is_replaced(make: Make) -> None:
    before = children()
    directory = make("matrix", workers=1)
    directory.check("alice", WHO)
    (worker,) = children() - before

    os.kill(worker, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(worker)] if psutil.pid_exists(worker) else [], timeout=5)

    assert answer(directory, "alice", WHO) == "alice"


def test_a_process_that_dies_while_it_is_asked_is_unavailable(make: Make) -> None:
    before = children()
    directory = make("slow", workers=1)
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(answer(directory, "alice", "wrong")))

    asking.start()
    while not (started := children() - before):
        time.sleep(0.01)
    time.sleep(0.4)
    os.kill(started.pop(), signal.SIGKILL)
    asking.join(10)

    assert answers == ["BackendUnavailable"]


def test_a_forked_process_starts_processes_of_its_own(make: Make) -> None:
    directory = make("matrix")
    directory.check("alice", WHO)

    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if answer(directory, "alice", WHO) == "alice" else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert answer(directory, "alice", WHO) == "alice"


def test_a_process_sees_no_setting_of_ours_in_its_environment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPAT_AUTH_LDAP__BIND_PASSWORD", "hidden")
    before = children()
    directory = make("matrix")
    directory.check("alice", WHO)

    (worker,) = children() - before

    assert "hidden" not in psutil.Process(worker).environ().values()
    assert WHO not in " ".join(psutil.Process(worker).cmdline())
