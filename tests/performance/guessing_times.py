"""Compares the time of a refusal for an unknown user with that for a wrong password, and prints a Mann-Whitney U test.

    python tests/performance/guessing_times.py [--count 2000] [--only htpasswd] [--write]

In this process, without a network between: an attacker sees less. Never fails on time. The LDAP directory needs slapd.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import bcrypt
from werkzeug.security import generate_password_hash

sys.path.insert(0, str(Path(__file__).parents[1]))

from compat_auth.composition.decider import create_flask_app  # beside what is found by the line above
from compat_auth.config import parse_settings
from compat_auth.credentials import Basic
from compat_auth.outcome import Reject
from corpora.page import write_between  # found by the line above, wherever this is started
from support.peers.authority import Authority  # the same
from support.peers.slapd import SERVICE_PASSWORD, SUFFIX, Slapd  # the same

Guess = Callable[[str], None]
_WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Compared:
    """Two samples of durations in seconds.

    Attributes:
        u: Mann-Whitney's U of the first sample.
        p: Two-sided, by the normal approximation with correction for ties.
        effect: Chance that a random value of the first sample is larger than one of the second; 0.5: none.
    """

    u: float
    p: float
    effect: float


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> Compared:
    """Return the Mann-Whitney U test of two samples (Mann and Whitney 1947; ties as in Siegel 1956)."""
    ordered = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    count, other = len(first), len(second)
    rank_sum, ties, at = 0.0, 0.0, 0
    while at < len(ordered):
        end = at
        while end < len(ordered) and ordered[end][0] == ordered[at][0]:
            end += 1
        equal = end - at
        rank = (at + 1 + end) / 2
        rank_sum += rank * sum(1 for _, sample in ordered[at:end] if sample == 0)
        ties += equal**3 - equal
        at = end
    total = count + other
    u = rank_sum - count * (count + 1) / 2
    variance = count * other / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return Compared(u, 1.0, 0.5)
    z = (abs(u - count * other / 2) - 0.5) / math.sqrt(variance)
    return Compared(u, min(1.0, math.erfc(max(0.0, z) / math.sqrt(2))), u / (count * other))


def measure(guess: Guess, known: str, count: int) -> tuple[list[float], list[float]]:
    """Return the durations in seconds for unknown users and for wrong passwords, asked in random order."""
    unknown: list[float] = []
    wrong: list[float] = []
    turns = [True, False] * count
    random.shuffle(turns)
    for number, is_unknown in enumerate([True, False] * _WARM_UP + turns):
        # As long as the known name, and never the same.
        name = f"u{number:0{len(known) - 1}d}"[: len(known)] if is_unknown else known
        began = time.perf_counter()
        guess(name)
        took = time.perf_counter() - began
        if number >= 2 * _WARM_UP:
            (unknown if is_unknown else wrong).append(took)
    return unknown, wrong


@contextmanager
def _guess(settings: dict[str, Any]) -> Generator[Guess]:
    parsed = parse_settings(
        {"auth_backends": ["basic_auth"], "upstream": {"profile": "generic"}, **settings}, origin="times"
    )
    app = create_flask_app(parsed)
    chain = app.extensions["compat_auth"].chain

    def guess(name: str) -> None:
        with app.test_request_context():
            outcome = chain.ask(Basic(name, "a wrong password")).outcome
        if not isinstance(outcome, Reject):
            raise TypeError(f"{name}: {outcome!r}, not a refusal")

    yield guess


@contextmanager
def htpasswd(folder: Path) -> Generator[tuple[Guess, str]]:
    """A file with bcrypt, cost 4, so that the run ends today."""
    users = {f"someone{number}": bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode() for number in range(20)}
    (folder / "users").write_text("".join(f"{name}:{text}\n" for name, text in users.items()))
    (folder / "users").chmod(0o600)
    settings = {"basic_auth": {"directories": ["htpasswd"]}, "htpasswd": {"file": str(folder / "users")}}
    with _guess(settings) as guess:
        yield guess, "someone7"


@contextmanager
def database(folder: Path) -> Generator[tuple[Guess, str]]:
    """A user table with werkzeug's scrypt, with little memory so that the run ends today."""
    path = folder / "airflow.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "create table ab_user (id integer primary key, username text, password text, active boolean, email text);"
            "create table ab_role (id integer primary key, name text);"
            "create table ab_user_role (user_id integer, role_id integer);"
        )
        connection.executemany(
            "insert into ab_user (username, password, email, active) values (?, ?, ?, ?)",
            [
                (f"someone{n}", generate_password_hash("right", "scrypt:1024:8:1"), f"{n}@example.org", True)
                for n in range(20)
            ],
        )
    settings = {"basic_auth": {"directories": ["airflow_db"]}, "airflow_db": {"url": f"sqlite:///{path}"}}
    with _guess(settings) as guess:
        yield guess, "someone7"


@contextmanager
def ldap(folder: Path) -> Generator[tuple[Guess, str]]:
    """OpenLDAP on loopback over StartTLS; its password policy does not count failures of this user."""
    authority = Authority(folder)
    server = Slapd(folder, authority, authority.sign("slapd"))
    server.start()
    # A counted failure is a write, which tells an unknown name from a wrong password whatever the client does.
    server.apply(f"dn: cn=grace,ou=policies,{SUFFIX}\nchangetype: modify\nreplace: pwdLockout\npwdLockout: FALSE\n")
    try:
        # The dump masks the password.
        settings = {**json.loads(server.settings().model_dump_json()), "bind_password": SERVICE_PASSWORD}
        with _guess({"basic_auth": {"directories": ["ldap"]}, "ldap": settings}) as guess:
            yield guess, "grace"
    finally:
        server.stop()


DIRECTORIES: dict[str, Callable[[Path], AbstractContextManager[tuple[Guess, str]]]] = {
    "htpasswd": htpasswd,
    "database": database,
    "ldap": ldap,
}


def row(name: str, unknown: Sequence[float], wrong: Sequence[float]) -> str:
    """Return the row of a directory."""
    found = mann_whitney(unknown, wrong)
    medians = " | ".join(f"{median(sample) * 1000:.3f} ms" for sample in (unknown, wrong))
    return (
        f"| {name} | {len(unknown)} + {len(wrong)} | {medians} | {found.u:.0f} | {found.p:.3f} | {found.effect:.3f} |"
    )


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code, which is 0 whatever the times are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="guesses of each kind (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=list(DIRECTORIES), help="this directory; may be repeated")
    parser.add_argument("--write", action="store_true", help="replace the table in the documentation")
    options = parser.parse_args(arguments)
    lines = [
        "| directory | guesses | median, unknown user | median, wrong password | U | p (two-sided) | effect |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in options.only or DIRECTORIES:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            DIRECTORIES[name](Path(folder)) as (guess, known),
        ):
            lines.append(row(name, *measure(guess, known, options.count)))
        sys.stdout.write(lines[-1] + "\n")
    when = time.strftime("%Y-%m-%d", time.gmtime())
    text = "\n".join(
        [f"Measured on {when}; load of the machine (2 cores) at the end: {os.getloadavg()[0]:.1f}.", "", *lines]
    )
    sys.stdout.write(text + "\n")
    if options.write:
        write_between(text, "times")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
