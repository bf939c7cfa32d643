"""Where a login may send a browser: a path of this host, and nothing that anybody could read as another place."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest

from compat_auth.http.browser.redirects import safe_next
from corpora.cases import cases

CORPUS = [case["next"] for case in cases("redirects") if case["leads"] == "elsewhere"]
GOOD = [case["next"] for case in cases("redirects") if case["leads"] == "here"]


def where(target: str) -> tuple[str, str]:
    resolved = urlsplit(urljoin("https://gateway/compat-auth/login", target))
    return resolved.scheme, resolved.netloc


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(CORPUS) >= 300


@pytest.mark.parametrize("value", CORPUS, ids=ascii)
def test_nothing_that_could_lead_elsewhere_is_followed(value: str) -> None:
    assert safe_next(value, "/fallback") == "/fallback"


@pytest.mark.parametrize("value", GOOD)
def test_a_path_of_ours_is_kept_with_its_query(value: str) -> None:
    assert safe_next(value, "/fallback") == value
    assert where(value) == ("https", "gateway")


def test_nothing_wanted_is_the_fallback() -> None:
    assert safe_next(None) == "/"
