"""Where a login may send a browser: a path of this host, and nothing that anybody could read as another place."""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit

import pytest

from compat_auth.http.browser.redirects import safe_next

EVIL = "evil.example"
BLANKS = ("\t", "\n", "\r", "\x00", "\x0b", "\x0c", " ", "\xa0", "\u2028", "\u3000", "\ufeff", "\x7f", "\x01")
# What some parsers take for a slash.
SLASHES = (
    "/",
    "\\",
    "%2f",
    "%2F",
    "%5c",
    "%5C",
    "%252f",
    "%255c",
    "\u2044",
    "\u2215",
    "\uff0f",
    "\u29f8",
    "\ufe68",
    "\uff3c",
)

ABSOLUTE = [
    f"https://{EVIL}/", f"http://{EVIL}", f"HTTPS://{EVIL}", f"https:{EVIL}", f"https:/{EVIL}", f"https:///{EVIL}",
    f"https:\\\\{EVIL}", f"https:/\\{EVIL}", f"ftp://{EVIL}", f"//{EVIL}", f"///{EVIL}", f"////{EVIL}/", f"//{EVIL}/%2f..",
    f"//{EVIL}@gateway", f"//gateway@{EVIL}", f"https://gateway@{EVIL}", f"https://gateway:80@{EVIL}",
    f"https://gateway.{EVIL}", f"//{EVIL}:443/", f"//{EVIL}?", f"//{EVIL}#", f"//{EVIL}#/a", "/a#\\evil", "/a#b#c", "/a#é", "/a#\r\nLocation:x", "/a//#b", f"/\\{EVIL}", f"\\/{EVIL}", f"\\\\{EVIL}",
    f"\\{EVIL}", f"/\\/{EVIL}", f"/\\\\{EVIL}", f"//\\{EVIL}", f"/./{EVIL}", f"/.//{EVIL}", f"/..//{EVIL}", f"/../{EVIL}",
    f"./{EVIL}", f"../{EVIL}", f"/a/..//{EVIL}", f"/a/../..//{EVIL}", f"/%2e%2e//{EVIL}", f"/%2e//{EVIL}", f"/a//{EVIL}",
    f"/;//{EVIL}", f"/;/../{EVIL}", f"/..;/{EVIL}", EVIL, f"{EVIL}/", f"www.{EVIL}", f"?next=//{EVIL}", f"#//{EVIL}",
    "javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", "javascript://%0aalert(1)", "data:text/html,x",
    "data:text/html;base64,PHNjcmlwdD4=", "vbscript:x", "file:///etc/passwd", "blob:https://x", "about:blank", "view-source:x",
    "mailto:a@b", "ws://x", "//[::1]/", "//127.0.0.1", "//2130706433", "//0x7f.1", "http://[::ffff:127.0.0.1]",
    "/\u202e/evil", f"/\ud800{EVIL}", "/é", "/a b", "/<script>", '/"onload="', "/'\"><", "/a|b", "/a^b", "/a`b", "/{a}",
    "/%", "/%2", "/%zz", "/%00", "/%0d%0aSet-Cookie:x=1", "/%0aLocation:x", "/a\r\nSet-Cookie: x=1", "/\x00", "/%c0%af", "/%ff",
    "/%c0%ae%c0%ae/", "/%e0%80%af", "/a/%2e%2e/b", "/a/.%2e/b", "/%5cevil", "/%252f%252fevil.example", "/" + "a" * 3000,
    "", "a", ".", "..", "*", "/..", "/.", "/...;/..",
]  # fmt: skip
BUILT = [
    *(f"/{blank}/{EVIL}" for blank in BLANKS),
    *(f"{blank}//{EVIL}" for blank in BLANKS),
    *(f"/{quote(blank)}/{EVIL}" for blank in BLANKS if ord(blank) <= 0x20),
    *(f"{first}{second}{EVIL}" for first in SLASHES for second in SLASHES),
    *(f"/{slash}{slash}{EVIL}" for slash in SLASHES),
]
# "/%2F" and the like: the second reading of such a path begins another host.
CORPUS = sorted({*ABSOLUTE, *BUILT})
GOOD = [
    "/", "/home", "/dags/example/grid?tab=code&x=1", "/dags/a%2Fb/runs/manual__2024-01-01T00%3A00%3A00%2B00%3A00",
    "/a?next=/b", "/a?u=https://elsewhere.example/", "/~user/", "/a;v=1/b", "/compat-auth/logout", "/a?x=%0A",
    "/a#b", "/a?b=c#12", "/#//evil.example", "/a#?x=/b%20c",
]  # fmt: skip


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
