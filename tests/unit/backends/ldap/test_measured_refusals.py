"""What counts as the time of a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from compat_auth.config import LdapSettings
from compat_auth_backends.directories.ldap import LdapDirectory
from compat_auth_backends.ldap.refusal_times import RefusalTimes


class Busy:
    """A server that answers in a millisecond, and whose connections are free only after a second."""

    def __init__(self) -> None:
        self.now = 1000.0

    def run(self, ask: Any) -> Any:
        self.now += 1
        return ask(self)

    def search_ext_s(self, *_search: object, **_options: object) -> list[Any]:
        self.now += 0.001
        return []


def test_the_wait_for_a_connection_to_search_is_no_time_of_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Busy()
    times = RefusalTimes(lambda: busy.now, lambda _seconds: None)
    took: list[float] = []
    monkeypatch.setattr(times, "fill", lambda began, _ask: took.append(busy.now - began))
    directory = LdapDirectory(LdapSettings(url=["ldapi://nowhere"], base="dc=a"))
    monkeypatch.setattr(directory, "_refusals", times)
    monkeypatch.setattr(directory, "_searches", busy)
    monkeypatch.setattr(directory, "_bind", lambda *_who: False)

    found = directory.decide("nobody", "wrong")

    assert found is None
    assert took == pytest.approx([0.001])
