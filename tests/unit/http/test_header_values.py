"""Header values are bounded before a Flask application parses them."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from compat_auth.http.header_values import (
    MAX_COOKIE_BYTES,
    MAX_COOKIES,
    ReadableCookies,
    cookie_header,
    one_blank,
    readable_cookies,
    shield_cookies,
)


@pytest.mark.parametrize(
    ("value", "shortened"),
    [
        (b"a b", b"a b"),
        (b"a  b", b"a b"),
        (b"a\tb", b"a b"),
        (b"a \t \tb  c", b"a b c"),
        (b"  ", b" "),
        (b"", b""),
    ],
)
def test_a_run_of_blanks_is_one_space(value: bytes, shortened: bytes) -> None:
    assert one_blank(value) == shortened


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ([b"a=1"], "a=1"),
        ([b"a=1; b=2", b"c=3"], "a=1; b=2; c=3"),
        ([b" a=1 ;\tb=2\t"], "a=1; b=2"),
        ([b'a="1 2"'], 'a="1 2"'),
        ([b'a="\\054\\""'], 'a="\\054\\""'),
        ([b'a="1'], ""),
        ([b"a=1 2; b=2"], "b=2"),
        ([b"=1; b; c=3"], "c=3"),
        ([b"a=\xff; b=2"], "b=2"),
    ],
)
def test_only_pairs_of_rfc_6265_reach_a_backend(value: list[bytes], kept: str) -> None:
    assert cookie_header(value) == kept


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a=1; b", "a=1; b"),
        ("\ta=1\t; b=2 ", "a=1; b=2"),
        ('a="x y\\"z"; b=2', 'a="x y\\"z"; b=2'),
        ('a=    "; b=2', "b=2"),
        ('a="x; b=2', "b=2"),
    ],
)
def test_a_cookie_that_is_slow_to_parse_is_removed(value: str, kept: str) -> None:
    assert readable_cookies(value) == kept


def test_as_many_cookies_as_fit_are_kept_in_order() -> None:
    pairs = [f"c{number}=v" for number in range(MAX_COOKIES + 3)]

    assert readable_cookies("; ".join(pairs)) == "; ".join(pairs[:MAX_COOKIES])


def test_what_follows_the_first_cookie_that_does_not_fit_is_removed() -> None:
    small, large = "a=1", f"b={'x' * MAX_COOKIE_BYTES}"

    assert readable_cookies(f"{small}; {large}; c=3") == small


@pytest.mark.parametrize(("size", "fits"), [(MAX_COOKIE_BYTES - 2, True), (MAX_COOKIE_BYTES - 1, False)])
def test_a_cookie_counts_with_the_two_bytes_that_join_it(size: int, fits: bool) -> None:
    cookie = "a=" + "x" * (size - 2)

    assert readable_cookies(cookie) == (cookie if fits else "")


def test_two_cookies_that_fit_only_one_by_one_are_not_both_kept() -> None:
    half = "x" * (MAX_COOKIE_BYTES // 2)

    assert readable_cookies(f"a={half}; b={half}") == f"a={half}"


@pytest.mark.parametrize(("cookie", "passed"), [('a=    "; b=2', "b=2"), (None, None), ("", "")])
def test_the_application_gets_the_readable_cookies_and_the_rest_of_its_environment(
    cookie: str | None, passed: str | None
) -> None:
    seen: list[Any] = []

    def application(environ: dict[str, Any], start_response: object) -> list[bytes]:
        seen.extend((environ, start_response))
        return [b"answer"]

    environ: dict[str, Any] = {"PATH_INFO": "/x"} | ({} if cookie is None else {"HTTP_COOKIE": cookie})
    before = dict(environ)
    start = object()

    answer = ReadableCookies(application)(environ, start)  # type: ignore[arg-type]  # only handed on

    assert answer == [b"answer"]
    assert seen == [{"PATH_INFO": "/x"} | ({} if passed is None else {"HTTP_COOKIE": passed}), start]
    assert environ == before


def test_a_flask_application_is_shielded_once() -> None:
    app = Flask(__name__)
    bare = app.wsgi_app

    shield_cookies(app)
    shielded = app.wsgi_app
    shield_cookies(app)

    assert shielded != bare
    assert app.wsgi_app is shielded
