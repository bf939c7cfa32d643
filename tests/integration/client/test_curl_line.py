"""A command line of curl is read as the curl at hand reads it."""

from __future__ import annotations

import subprocess

import pytest

from compat_auth.client.curl_line import CurlOptions, read_help, urls_of
from compat_auth.errors import CurlLineRefused


@pytest.fixture(scope="module")
def options() -> CurlOptions:
    listed = subprocess.run(["curl", "--help", "all"], capture_output=True, check=True, text=True)
    return read_help(listed.stdout)


def urls(options: CurlOptions, *arguments: str) -> list[str]:
    return [arguments[place] for place in urls_of(arguments, options)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["/api"], ["/api"], id="alone"),
        pytest.param(["-sS", "/api"], ["/api"], id="letters"),
        pytest.param(["-X", "POST", "/api"], ["/api"], id="letter-with-value"),
        pytest.param(["-XPOST", "/api"], ["/api"], id="letter-and-value-in-one"),
        pytest.param(["-sXPOST", "/api"], ["/api"], id="letters-and-value-in-one"),
        pytest.param(["-sX", "POST", "/api"], ["/api"], id="letters-then-value"),
        pytest.param(["--data", "https://evil", "/api"], ["/api"], id="value-that-looks-like-a-url"),
        pytest.param(["-d", "-k", "/api"], ["/api"], id="value-that-looks-like-an-option"),
        pytest.param(["--no-buffer", "/api"], ["/api"], id="no"),
        pytest.param(["--url", "/a", "/b"], ["/a", "/b"], id="by-option"),
        pytest.param(["/a", "-o", "x", "/b"], ["/a", "/b"], id="two"),
        pytest.param(["--", "-k"], ["-k"], id="after-the-options"),
        pytest.param(["/a", "--next", "/b"], ["/a", "/b"], id="next"),
    ],
)
def test_every_url_of_a_line_is_found(arguments: list[str], expected: list[str], options: CurlOptions) -> None:
    assert urls(options, *arguments) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["--location-trusted", "/a"],
        ["--location-t", "/a"],
        ["-K", "other", "/a"],
        ["-sKother", "/a"],
        ["--config", "-", "/a"],
        ["-k", "/a"],
        ["-sSk", "/a"],
        ["--insecure", "/a"],
        ["--libcurl", "out.c", "/a"],
        ["--trace", "-", "/a"],
        ["--connect-to", "::evil:", "/a"],
        ["--resolve", "gw:443:203.0.113.5", "/a"],
        ["-u", "alice:x", "/a"],
        ["-ualice:x", "/a"],
        ["-n", "/a"],
        ["--negotiate", "/a"],
        ["--unix-socket", "/tmp/x", "/a"],
        ["--url=https://evil", "/a"],
        ["--unheard-of", "/a"],
        ["-€", "/a"],
    ],
    ids=" ".join,
)
def test_what_would_show_the_token_to_somebody_is_refused(arguments: list[str], options: CurlOptions) -> None:
    with pytest.raises(CurlLineRefused):
        urls(options, *arguments)


def test_the_help_of_the_curl_at_hand_is_understood(options: CurlOptions) -> None:
    assert len(options.takes_value) > 150
    assert (options.takes_value["request"], options.takes_value["location"]) == (True, False)
    assert (options.long_name["L"], options.long_name["#"]) == ("location", "progress-bar")
