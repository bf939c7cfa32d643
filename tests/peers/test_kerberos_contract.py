"""The kerberos backend and passwords of the realm, held to what every backend must do, with a real KDC."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

import pytest

from compat_auth.authn.passwords.hash_pool import HashPool
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.backend import Backend
from compat_auth.directory import DirectoryUser
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.basic_auth import BasicAuthBackend
from compat_auth_backends.directories.kinit import KinitDirectory
from compat_auth_backends.kerberos import KerberosBackend
from compat_auth_backends.kerberos_acceptor import Acceptor
from compat_auth_backends.kerberos_names import Principals, parse_mapping
from support.peers.kerberos import PASSWORDS, Kdc
from support.peers.kerberos_client import NTLM, NTLM_IN_SPNEGO, Tickets, negotiate
from support.stand_ins import basic

pytestmark = pytest.mark.peer


class Known:
    """Users in memory."""

    name = "known"
    answers_without_flask = True

    def __init__(self) -> None:
        users = (DirectoryUser("alice"), DirectoryUser("jürgen"), DirectoryUser("disabled", active=False))
        self._users = {user.username: user for user in users}

    def find(self, username: str) -> DirectoryUser | None:
        return self._users.get(username)


STRIPPED = Principals(frozenset(), parse_mapping("strip_realm"))
KNOWN = UserLookup((Known(),))


@pytest.fixture(scope="session")
def tickets(kdc: Kdc) -> Tickets:
    return Tickets(kdc)


@pytest.fixture(scope="module")
def http_keytab(kdc: Kdc) -> Path:
    return kdc.keytab("HTTP/localhost")


@contextlib.contextmanager
def moved_away(path: Path) -> Generator[None]:
    away = path.rename(path.with_suffix(".away"))
    yield
    away.rename(path)


class TestKerberos(BackendContract, has_source=True):
    @pytest.fixture(autouse=True)
    def realm(self, tickets: Tickets, http_keytab: Path, kdc: Kdc) -> None:
        self.tickets = tickets
        self.keytab = http_keytab
        kdc.keytab("HTTP/other")

    @pytest.fixture
    def backend(self, http_keytab: Path) -> Backend:
        acceptor = Acceptor(http_keytab, ("HTTP",), replay_cache=http_keytab.parent / "replays")
        return KerberosBackend(acceptor, STRIPPED, KNOWN)

    def good(self) -> Headers:
        return negotiate(self.tickets.token("alice"))

    def bad(self) -> dict[str, Headers]:
        token = self.tickets.token("alice")
        return {
            "cut off": negotiate(token[:-1]),
            "changed": negotiate(token[:-1] + bytes([token[-1] ^ 1])),
            "for another service": negotiate(self.tickets.token("alice", "HTTP@other")),
            "NTLM": negotiate(NTLM),
            "NTLM in SPNEGO": negotiate(NTLM_IN_SPNEGO),
            "unknown": negotiate(self.tickets.token("unknown")),
            "disabled": negotiate(self.tickets.token("disabled")),
            "another instance": negotiate(self.tickets.token("alice/admin")),
        }

    def break_source(self) -> contextlib.AbstractContextManager[None]:
        return moved_away(self.keytab)


class TestPasswordsOfTheRealm(BackendContract, has_source=True):
    @pytest.fixture(autouse=True)
    def realm(self, kdc: Kdc) -> None:
        self.kdc = kdc

    @pytest.fixture
    def backend(self, http_keytab: Path) -> Backend:
        acceptor = Acceptor(http_keytab, ("HTTP",), replay_cache=http_keytab.parent / "replays")
        directory = KinitDirectory(acceptor, STRIPPED, KNOWN)
        return BasicAuthBackend((directory,), pool=HashPool(2, max_waiting=64))

    def good(self) -> Headers:
        return {"Authorization": basic("alice", PASSWORDS["alice"])}

    def bad(self) -> dict[str, Headers]:
        return {
            "wrong password": {"Authorization": basic("alice", "wrong")},
            "nobody": {"Authorization": basic("nobody", PASSWORDS["alice"])},
            "unknown": {"Authorization": basic("unknown", PASSWORDS["unknown"])},
            "disabled": {"Authorization": basic("disabled", PASSWORDS["disabled"])},
            "another instance": {"Authorization": basic("alice/admin", PASSWORDS["alice/admin"])},
            "another realm": {"Authorization": basic("alice@OTHER.TEST", PASSWORDS["alice"])},
        }

    @contextlib.contextmanager
    def break_source(self) -> Generator[None]:
        self.kdc.stop()
        yield
        self.kdc.start()
