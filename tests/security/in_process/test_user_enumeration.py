"""An attacker with a stopwatch: whoever is refused costs one hash, so that time does not tell who exists.

Counted in hashes, not in seconds: a stopwatch in a test measures the machine.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import bcrypt
import pytest

from compat_auth.authn.passwords import checker
from compat_auth.authn.passwords.hash_pool import HashPool
from compat_auth.authn.passwords.hashes import check_hash, decoy_like
from compat_auth.credentials import Basic
from compat_auth.directory import DirectoryUser
from compat_auth.outcome import Reject
from compat_auth_backends.basic_auth import BasicAuthBackend
from compat_auth_backends.directories.htpasswd import HtpasswdDirectory

COST = 4
HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(COST)).decode()


class InMemory:
    def __init__(self, name: str, *users: DirectoryUser) -> None:
        self.name = name
        self._users = {user.username: user for user in users}

    def find(self, username: str) -> DirectoryUser | None:
        return self._users.get(username)

    def decoy(self) -> str:
        return decoy_like(user.password_hash for user in self._users.values())


DIRECTORIES = (
    InMemory("one", DirectoryUser("in-one", password_hash=HASH)),
    InMemory(
        "two", DirectoryUser("off", active=False, password_hash=HASH), DirectoryUser("in-two", password_hash=HASH)
    ),
    InMemory("three", DirectoryUser("no-hash"), DirectoryUser("in-three", password_hash=HASH)),
)


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    hashes: list[str] = []

    def count(stored: str, password: str) -> bool:
        hashes.append(stored)
        return check_hash(stored, password)

    monkeypatch.setattr(checker, "check_hash", count)
    return hashes


@pytest.mark.parametrize(
    "order", list(itertools.permutations(DIRECTORIES)), ids=lambda order: "-".join(d.name for d in order)
)
@pytest.mark.parametrize("username", ["nobody", "off", "no-hash", "in-one", "in-two", "in-three"])
def test_whoever_is_refused_costs_one_hash_of_the_same_cost(
    username: str, order: tuple[InMemory, ...], spent: list[str]
) -> None:
    backend = BasicAuthBackend(order, pool=HashPool(1, max_waiting=1))

    outcome = backend.authenticate(Basic(username, "wrong"))

    assert isinstance(outcome, Reject)
    assert [stored[:7] for stored in spent] == [f"$2b$0{COST}$"]


@pytest.mark.parametrize("username", ["nobody", "off", "md5", "twice", "alice", ""])
def test_a_real_file_tells_no_more(username: str, tmp_path: Path, spent: list[str]) -> None:
    path = tmp_path / "users"
    path.write_text(f"alice:{HASH}\noff:!{HASH}\nmd5:$apr1$salt$qWuNBgxVHT8kpKlkgFVm20\ntwice:{HASH}\ntwice:{HASH}\n")
    backend = BasicAuthBackend((HtpasswdDirectory(path),), pool=HashPool(1, max_waiting=1))

    outcome = backend.authenticate(Basic(username, "wrong"))

    assert isinstance(outcome, Reject)
    assert [stored[:7] for stored in spent] == [f"$2b$0{COST}$"]


def test_a_decoy_lets_nobody_in(spent: list[str]) -> None:
    backend = BasicAuthBackend(DIRECTORIES, pool=HashPool(1, max_waiting=1))

    outcomes = [backend.authenticate(Basic(name, "right")) for name in ("nobody", "off", "no-hash")]

    assert [type(outcome) for outcome in outcomes] == [Reject] * 3
    assert len(spent) == 3
