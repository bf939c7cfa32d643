from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from compat_auth_backends.ldap.refusal_times import RefusalTimes


@dataclass
class Server:
    """A server with a clock that goes on only while it works."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list[float])
    questions: int = 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def ask(self) -> None:
        self.questions += 1
        self.now += 0.0003


def refusals(server: Server, times: RefusalTimes, count: int, *, wrong_s: float, unknown_s: float) -> list[float]:
    """Refuse wrong passwords and unknown names in turn; return how long the latter took."""
    took: list[float] = []
    for _ in range(count):
        began = server.now
        server.now += wrong_s
        times.note_wrong(began)
        began = server.now
        server.now += unknown_s
        times.fill(began, server.ask)
        took.append(server.now - began)
    return took


def wrong_passwords(server: Server, times: RefusalTimes, count: int, *, wrong_s: float) -> None:
    for _ in range(count):
        began = server.now
        server.now += wrong_s
        times.note_wrong(began)


def unknown_names(server: Server, times: RefusalTimes, count: int, *, unknown_s: float) -> list[float]:
    """Refuse unknown names; return how long they took."""
    took: list[float] = []
    for _ in range(count):
        began = server.now
        server.now += unknown_s
        times.fill(began, server.ask)
        took.append(server.now - began)
    return took


def test_before_the_first_wrong_password_an_unknown_name_takes_as_long_as_it_does() -> None:
    server = Server()
    times = RefusalTimes(server.clock, server.sleep)

    times.fill(server.now, server.ask)

    assert (server.questions, server.slept) == (0, [])


def test_a_short_difference_is_filled_with_questions() -> None:
    server = Server()
    times = RefusalTimes(server.clock, server.sleep)

    took = refusals(server, times, 2000, wrong_s=0.0014, unknown_s=0.0011)[1000:]

    assert server.slept == []
    assert abs(sum(took) / len(took) - 0.0014) < 0.0002


def test_a_long_difference_is_waited_for() -> None:
    server = Server()
    times = RefusalTimes(server.clock, server.sleep)

    took = refusals(server, times, 500, wrong_s=0.1, unknown_s=0.001)[100:]

    assert server.questions == 0
    assert abs(median(took) - 0.1) < 0.005


def test_an_unknown_name_that_takes_longer_by_itself_costs_no_more() -> None:
    server = Server()
    times = RefusalTimes(server.clock, server.sleep)

    refusals(server, times, 500, wrong_s=0.001, unknown_s=0.002)

    assert (server.questions, server.slept) == (0, [])


def test_a_server_that_hung_holds_up_nobody_for_longer_than_a_second() -> None:
    server = Server()
    times = RefusalTimes(server.clock, server.sleep)

    refusals(server, times, 20, wrong_s=30, unknown_s=0.001)

    assert max(server.slept) <= 1


def test_after_a_slow_phase_the_next_unknown_names_take_no_longer_than_wrong_passwords() -> None:
    server = Server()
    times = RefusalTimes(server.clock, server.sleep)
    wrong_passwords(server, times, 64, wrong_s=0.8)
    unknown_names(server, times, 1, unknown_s=0.001)
    wrong_passwords(server, times, 127, wrong_s=0.003)
    server.slept.clear()

    took = unknown_names(server, times, 200, unknown_s=0.001)

    assert server.slept == []
    assert max(took) < 0.003 + 0.0015
    assert abs(median(took[100:]) - 0.003) < 0.0004


def test_a_server_that_has_become_faster_is_followed() -> None:
    server = Server()
    times = RefusalTimes(server.clock, server.sleep)
    refusals(server, times, 500, wrong_s=0.1, unknown_s=0.001)

    took = refusals(server, times, 20_000, wrong_s=0.02, unknown_s=0.001)[-1000:]

    assert abs(median(took) - 0.02) < 0.002
