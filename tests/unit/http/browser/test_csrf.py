"""Does a request that changes something come from our own pages?"""

from __future__ import annotations

import pytest

from compat_auth.http.browser.csrf import Source, find_forgery

OWN = "https://gateway.example"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_safe_request_may_come_from_anywhere(method: str) -> None:
    assert find_forgery(method, Source("cross-site", "https://evil.example", OWN), "token") == ""


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post", "QUERY", ""])
@pytest.mark.parametrize(
    "source",
    [
        pytest.param(Source("cross-site", None, OWN), id="another-site"),
        pytest.param(Source("same-site", None, OWN), id="another-host-of-the-site"),
        pytest.param(Source("", None, OWN), id="empty"),
        pytest.param(Source("same-origin, cross-site", None, OWN), id="two-values"),
        pytest.param(Source("cross-site", OWN, OWN, "token"), id="another-site-with-everything-else-right"),
        pytest.param(Source(None, "https://evil.example", OWN), id="another-origin"),
        pytest.param(Source(None, "http://gateway.example", OWN), id="another-scheme"),
        pytest.param(Source(None, "https://gateway.example:8443", OWN), id="another-port"),
        pytest.param(Source(None, "https://gateway.example.evil.example", OWN), id="a-longer-host"),
        pytest.param(Source(None, "null", OWN), id="a-sandboxed-frame"),
        pytest.param(Source(None, "", OWN), id="an-empty-origin"),
        pytest.param(Source(None, "https://evil.example", OWN, "token"), id="another-origin-with-the-token"),
        pytest.param(Source(None, None, OWN), id="no-word-at-all"),
        pytest.param(Source(None, None, OWN, "tokem"), id="a-wrong-token"),
        pytest.param(Source(None, None, OWN, "tokenx"), id="a-longer-token"),
        pytest.param(Source(None, None, OWN, "tök\udc80"), id="not-ascii"),
    ],
)
def test_a_request_that_changes_something_must_come_from_us(method: str, source: Source) -> None:
    assert find_forgery(method, source, "token")


def test_an_empty_token_matches_nothing() -> None:
    assert find_forgery("POST", Source(None, None, OWN, ""), "")


@pytest.mark.parametrize(
    "source",
    [
        Source("same-origin", None, OWN),
        Source("none", None, OWN),
        Source(None, OWN, OWN),
        Source(None, "https://gateway.example:443", OWN),
        Source(None, OWN, "https://GATEWAY.example:443"),
        Source(None, None, OWN, "token"),
    ],
)
def test_our_own_pages_and_who_knows_the_token_may(source: Source) -> None:
    assert find_forgery("POST", source, "token") == ""
