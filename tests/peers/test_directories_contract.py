"""Passwords in LDAP and PAM, by the contract that every backend keeps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from compat_auth.authn.passwords.hash_pool import HashPool
from compat_auth.backend import Backend
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.basic_auth import BasicAuthBackend
from compat_auth_backends.directories.ldap import LdapDirectory
from compat_auth_backends.directories.pam import PamDirectory
from compat_auth_backends.ldap.connection_pool import ALONE_PAUSE_S
from support.peers.pam import PASSWORDS, Pam
from support.peers.slapd import USERS, Slapd
from support.stand_ins import basic

pytestmark = pytest.mark.peer


class TestLdap(BackendContract, has_source=True, counts_work=True):
    @pytest.fixture
    def backend(self, slapd: Slapd) -> Iterator[Backend]:
        self.slapd = slapd
        self.directory = LdapDirectory(slapd.settings())
        yield BasicAuthBackend((self.directory,), pool=HashPool(2, max_waiting=64))
        self.directory.close()

    def good(self) -> Headers:
        return {"Authorization": basic("alice", USERS["alice"])}

    def bad(self) -> dict[str, Headers]:
        return {
            # Not alice: the contract asks often, and the server would lock her out.
            "wrong": {"Authorization": basic("twin1", "wrong")},
            "unknown": {"Authorization": basic("nobody", USERS["alice"])},
            "disabled": {"Authorization": basic("disabled", USERS["disabled"])},
        }

    def count_work(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        binds: list[Any] = []
        bind = self.directory._bind  # pyright: ignore[reportPrivateUsage]  # what a refusal costs

        def count(dn: str, password: str) -> bool:
            binds.append("bind")
            return bind(dn, password)

        monkeypatch.setattr(self.directory, "_bind", count)
        return binds

    @contextlib.contextmanager
    def break_source(self) -> Generator[None]:
        with self.slapd.stopped():
            yield
        time.sleep(ALONE_PAUSE_S)


class TestPam(BackendContract):
    @pytest.fixture
    def backend(self, pam: Pam) -> Iterator[Backend]:
        directory = PamDirectory(pam.settings("matrix"))
        yield BasicAuthBackend((directory,), pool=HashPool(2, max_waiting=64))
        directory.close()

    def good(self) -> Headers:
        return {"Authorization": basic("alice", PASSWORDS["alice"])}

    def bad(self) -> dict[str, Headers]:
        return {
            "wrong": {"Authorization": basic("jürgen", "wrong")},
            "unknown": {"Authorization": basic("nobody", "wrong")},
        }
