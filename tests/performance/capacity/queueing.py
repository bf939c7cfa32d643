"""Closed forms of queueing theory. Rates are in events a second, times in seconds."""

from __future__ import annotations

from math import factorial


class Overloaded(Exception):
    """More arrives than can be served: a queue would grow for ever."""


def utilisation(arrivals_per_s: float, service_s: float, servers: int = 1) -> float:
    """Return the share of the time in which a server works, between 0 and 1.

    Raises:
        Overloaded: It would be 1 or more.
    """
    share = arrivals_per_s * service_s / servers
    if share >= 1:
        raise Overloaded(f"{arrivals_per_s:g}/s of {service_s:g} s each are {share:.2f} of what {servers} can serve")
    return share


def wait_mm1(arrivals_per_s: float, service_s: float) -> float:
    """Return the mean wait before service in M/M/1 (Kleinrock, Queueing Systems I, 3.2)."""
    share = utilisation(arrivals_per_s, service_s)
    return share * service_s / (1 - share)


def wait_md1(arrivals_per_s: float, service_s: float) -> float:
    """Return the mean wait before service in M/D/1: half of M/M/1 (Pollaczek and Khinchine)."""
    return wait_mm1(arrivals_per_s, service_s) / 2


def probability_of_wait(arrivals_per_s: float, service_s: float, servers: int) -> float:
    """Return how likely an arrival of M/M/c has to wait (Erlang C)."""
    share = utilisation(arrivals_per_s, service_s, servers)
    offered = arrivals_per_s * service_s
    last = offered**servers / factorial(servers) / (1 - share)
    return last / (sum(offered**number / factorial(number) for number in range(servers)) + last)


def wait_mmc(arrivals_per_s: float, service_s: float, servers: int) -> float:
    """Return the mean wait before service in M/M/c."""
    share = utilisation(arrivals_per_s, service_s, servers)
    return probability_of_wait(arrivals_per_s, service_s, servers) * service_s / (servers * (1 - share))


def checks_per_s(uses_per_s: float, remembered_s: float, memories: float) -> float:
    """Return how often one credential is checked, if each use goes to one of several memories at random.

    A memory checks a use that finds nothing, and then knows the answer for `remembered_s`. Uses are a Poisson process, so a
    memory that has forgotten waits `memories / uses_per_s` for the next one.
    """
    if uses_per_s == 0:
        return 0.0
    return memories / (remembered_s + memories / uses_per_s)


def remembered_share(uses_per_s: float, remembered_s: float, memories: float) -> float:
    """Return the share of the time in which one memory knows one credential."""
    if uses_per_s == 0:
        return 0.0
    return remembered_s / (remembered_s + memories / uses_per_s)
