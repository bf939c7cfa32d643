"""Which requests take the fast path whatever their credential is."""

from __future__ import annotations

import pytest

from compat_auth.gateway.fast.candidate import Candidate, TakesOrdinaryWay
from compat_auth.gateway.fast.fast_paths import FastPaths
from compat_auth.http.forwarded import TrustedProxies

PATHS = FastPaths(TrustedProxies(["192.0.2.0/24"]), None, None, 9188)


@pytest.mark.parametrize(
    ("port", "peer", "is_front", "is_trusted"),
    [
        pytest.param(9188, "192.0.2.1", True, True, id="front-proxy"),
        pytest.param(9188, "198.51.100.1", True, False, id="stranger-at-the-front"),
        pytest.param(8088, "192.0.2.1", False, True, id="proxy"),
        pytest.param(8088, "198.51.100.1", False, False, id="client"),
    ],
)
def test_the_socket_says_who_asks_and_where(port: int, peer: str, *, is_front: bool, is_trusted: bool) -> None:
    ends = PATHS.ends(("127.0.0.1", port), (peer, 4711), "http", has_certificate=False)

    assert (ends.is_front, ends.is_trusted, ends.peer) == (is_front, is_trusted, peer)


@pytest.mark.parametrize("has_certificate", [False, True])
def test_a_request_that_nobody_here_answers_takes_the_ordinary_way(*, has_certificate: bool) -> None:
    ends = PATHS.ends(("127.0.0.1", 8088), ("192.0.2.1", 4711), "https", has_certificate=has_certificate)

    with pytest.raises(TakesOrdinaryWay):
        PATHS.plan(Candidate(b"GET", b"/api/v2/x", []), ends)
