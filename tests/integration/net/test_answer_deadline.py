"""A connection to a server that does not answer in time is cut, and no other."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest

from compat_auth.net.answer_deadline import answer_deadline


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_read_that_nobody_answers_ends_when_the_time_is_over(ends: tuple[socket.socket, socket.socket]) -> None:
    began = time.monotonic()

    with answer_deadline(ends[0].fileno(), 0.2) as deadline:
        received = ends[0].recv(1)

    assert (received, deadline.is_over) == (b"", True)
    assert 0.2 <= time.monotonic() - began < 2


def test_a_connection_that_answers_in_time_stays_open(ends: tuple[socket.socket, socket.socket]) -> None:
    with answer_deadline(ends[0].fileno(), 0.2) as deadline:
        ends[1].sendall(b"a")
        ends[0].recv(1)
    time.sleep(0.3)
    ends[1].sendall(b"b")

    assert (ends[0].recv(1), deadline.is_over) == (b"b", False)


def test_each_question_has_the_whole_time(ends: tuple[socket.socket, socket.socket]) -> None:
    with answer_deadline(ends[0].fileno(), 0.4) as deadline:
        for _ in range(4):
            time.sleep(0.2)
            deadline.restart()

        assert not deadline.is_over


def test_a_deadline_that_is_lifted_stays_so(ends: tuple[socket.socket, socket.socket]) -> None:
    with answer_deadline(ends[0].fileno(), 0.2) as deadline:
        deadline.lift()
        deadline.restart()
        time.sleep(0.4)

        assert not deadline.is_over


def test_the_earliest_of_several_deadlines_is_kept(ends: tuple[socket.socket, socket.socket]) -> None:
    began = time.monotonic()

    with answer_deadline(ends[1].fileno(), 60), answer_deadline(ends[0].fileno(), 0.2):
        ends[0].recv(1)

    assert time.monotonic() - began < 2


def test_a_descriptor_that_its_owner_has_closed_is_nobody_elses(ends: tuple[socket.socket, socket.socket]) -> None:
    number = ends[0].fileno()
    with answer_deadline(number, 0.2) as deadline:
        ends[0].close()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert number in (ours.fileno(), theirs.fileno())
            while not deadline.is_over:
                time.sleep(0.01)
            ours.sendall(b"still open")

            assert theirs.recv(10) == b"still open"


def test_a_forked_process_keeps_deadlines_of_its_own(ends: tuple[socket.socket, socket.socket]) -> None:
    with answer_deadline(ends[1].fileno(), 60):
        child = os.fork()
        if not child:
            with answer_deadline(ends[0].fileno(), 0.2):
                received = ends[0].recv(1)
            os._exit(len(received))

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
