"""The same app on asfquart 0.1.12 and on `CompatAuth` in Quart: what is equal, and each difference by its name."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler

import pytest

from support.peers.asfquart_pair import EXAMPLES, Browser, Pair, serving, verdict
from support.peers.asfquart_side.more_views import MEMBERS, PATHS, RECENT_S
from support.serving import served
from support.stand_ins import basic

HOW_TO = EXAMPLES.parent / "how-to" / "coming-from-asfquart.md"
DIFFERENCES = {
    "no credential": "RFC 9110 15.5.2: a caller who may try again gets 401, with a challenge",
    "body of a refusal": "RFC 9457, as everywhere here; it is never HTML, so that no text of a caller becomes markup",
    "fault of the handler": "RFC 9110 15.6.4: the request may succeed later, and the caller cannot mend it",
    "session without uid": "a view would get a caller without a name",
    "committees": "asfquart's documentation writes `committees`, and its code reads only `pmcs`",
    "own values": "asfquart's documentation writes them, and its code drops them at the next read",
    "idle time": "asfquart's documentation says last access, and its code counts from the last write",
    "e-mail address": "apache.org is right for one organisation only",
    "scope that is a path": "it is enforced, before the view runs",
    "scope that is no list": "a limit with a mistake must not become no limit",
    "empty scope": "a token that names no scope must not have all of them",
    "token with =": "RFC 6750 2.1: it is no bearer token, and asfquart's handler is asked about None",
    "cookie and token": "the credential that the caller shows for this request counts",
    "other scheme": "RFC 9110 11.6.1: 401 with a challenge; the fault is not the server's",
    "password": "asfquart asks only the LDAP server of the ASF",
    "view that is not async": "it runs on a thread",
    "forged request": "another site's page must not use the cookie, also where SameSite does not help",
    "login": "your identity provider or directory; only a browser that opens a page is redirected",
    "logout": "a link on another site must not log out anybody",
}


@pytest.fixture(scope="module")
def callback() -> Generator[str]:
    """Stand in for the ASF's identity provider: everybody who comes with a code is Ana."""

    class Provider(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(MEMBERS["ana"]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with served(Provider) as url:
        yield f"{url}/token-oidc?code=%s"


@pytest.fixture(scope="module")
def asynchronous(tmp_path_factory: pytest.TempPathFactory, callback: str) -> Generator[Pair]:
    with serving(tmp_path_factory.mktemp("async"), "async", callback) as pair:
        yield pair


@pytest.fixture(scope="module")
def synchronous(tmp_path_factory: pytest.TempPathFactory) -> Generator[Pair]:
    with serving(tmp_path_factory.mktemp("sync"), "sync") as pair:
        yield pair


@pytest.fixture(params=["async", "sync"])
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.getfixturevalue("asynchronous" if request.param == "async" else "synchronous")
    return found


def become(who: str, browser: Browser) -> Browser:
    assert browser.ask(f"/become/{who}", "POST").status_code == 200
    return browser


def test_the_two_apps_differ_only_in_their_first_lines() -> None:
    before, after = (
        (EXAMPLES / f"asfquart_{side}.py").read_text(encoding="utf-8").partition("\nSESSIONS")
        for side in ("before", "after")
    )

    assert before[1:] == after[1:]
    assert "asfquart" not in after[0] + after[2]
    assert "compat_auth" not in before[0]


def test_the_how_to_lists_every_difference_by_its_name_and_no_other() -> None:
    section = HOW_TO.read_text(encoding="utf-8").partition("## What is different")[2].partition("\n## ")[0]

    named = re.findall(r"^\| \*\*(.+?)\*\* \|", section, re.MULTILINE)

    assert named == list(DIFFERENCES)


@pytest.mark.parametrize("who", MEMBERS)
def test_a_token_gets_the_same_views_as_on_asfquart(pair: Pair, who: str) -> None:
    before, after = ({path: verdict(side.show(who, path)) for path in PATHS} for side in pair.browsers())

    assert before == after
    assert before["/bare"] == "in"


@pytest.mark.parametrize("who", MEMBERS)
def test_a_session_that_the_app_has_written_gets_the_same_views_as_on_asfquart(asynchronous: Pair, who: str) -> None:
    browsers = [become(who, side) for side in asynchronous.browsers()]

    before, after = ({path: verdict(side.ask(path)) for path in PATHS} for side in browsers)

    assert before == after
    assert before["/bare"] == "in"


@pytest.mark.parametrize("who", MEMBERS)
def test_a_session_and_a_token_are_read_with_the_same_members(pair: Pair, who: str) -> None:
    by_token = [side.show(who, "/show") for side in pair.browsers()]
    by_cookie = [become(who, side).ask("/show") for side in pair.browsers()]

    shown = [answer.json() for answer in (*by_token, *by_cookie)]

    assert shown[0] == shown[1] == shown[2] == shown[3]
    assert shown[0]["uid"] == who


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer unknown"},
        {"Authorization": "bearer unknown"},
        {"Authorization": "Bearer odd-empty"},
        {"Cookie": "session=x.y.z; compat_auth_session=1.x.y"},
        {"Cookie": "session=; compat_auth_session="},
        {"X-User": "ana", "Remote-User": "ana"},
    ],
    ids=str,
)
def test_nobody_gets_in_on_either_side_without_a_good_credential(pair: Pair, headers: dict[str, str]) -> None:
    answers = [{path: verdict(side.ask(path, headers=headers)) for path in PATHS} for side in pair.browsers()]

    assert answers[0] == answers[1] == dict.fromkeys(PATHS, "out")


def test_the_cookie_of_another_app_lets_nobody_in(asynchronous: Pair, synchronous: Pair) -> None:
    strangers = [become("member", side) for side in synchronous.browsers()]
    sides = [
        Browser(url, dict(stranger.cookies))
        for url, stranger in zip((asynchronous.before, asynchronous.after), strangers, strict=True)
    ]

    assert [verdict(stranger.ask("/bare")) for stranger in strangers] == ["in", "in"]
    assert [verdict(side.ask("/bare")) for side in sides] == ["out", "out"]


def test_the_scheme_of_a_token_is_read_in_any_case(pair: Pair) -> None:
    answers = [side.ask("/secret", headers={"Authorization": "bEARER abcdefg"}) for side in pair.browsers()]

    assert verdict(answers[0]) == verdict(answers[1])
    assert answers[0].json() == {
        "uid": "release-bot",
        "fullname": "Release Bot",
        "committees": ["httpd", "tomcat"],
        "isRole": True,
    }


def test_a_view_checks_the_words_of_a_token_by_hand(pair: Pair) -> None:
    tokens = ("abcdefg", "role", "ana")

    before, after = ({token: verdict(side.show(token, "/scoped")) for token in tokens} for side in pair.browsers())

    assert before == after
    assert before == {"abcdefg": "For tokens with scopeA.", "role": "For tokens with scopeA.", "ana": "out"}


def test_a_view_that_refuses_by_itself_says_its_status_and_its_words(pair: Pair) -> None:
    answers = {path: [side.show("ana", path) for side in pair.browsers()] for path in ("/by-hand", "/busy")}

    assert [answer.status_code for answer in answers["/by-hand"]] == [403, 403]
    assert [answer.status_code for answer in answers["/busy"]] == [429, 429]
    assert answers["/by-hand"][0].text == answers["/by-hand"][1].json()["detail"] == "Not here"
    assert answers["/busy"][0].text == answers["/busy"][1].json()["detail"] == "Come back tomorrow"


def test_a_session_ends_after_its_idle_time_and_by_clear(asynchronous: Pair) -> None:
    idle = [become("ana", side) for side in asynchronous.browsers()]
    left = [become("ana", side) for side in asynchronous.browsers()]

    before = [side.ask("/recent").json() for side in idle]
    time.sleep(RECENT_S + 1.2)
    after = [side.ask("/recent").json() for side in idle]
    goodbye = [verdict(side.ask("/leave")) for side in left]

    assert before == [{"uid": "ana"}] * 2
    assert after == [{"uid": None}] * 2
    assert goodbye == ["Goodbye!"] * 2
    assert [verdict(side.ask("/bare")) for side in (*idle, *left)] == ["out"] * 4


def test_a_cookie_is_for_this_site_and_for_no_script(asynchronous: Pair) -> None:
    for side in asynchronous.browsers():
        header = side.ask("/become/ana", "POST").headers["Set-Cookie"].lower()

        assert "httponly" in header
        assert "samesite=" in header


def test_difference_no_credential(pair: Pair) -> None:
    nobody = [side.ask("/bare") for side in pair.browsers()]
    unknown = [side.show("unknown", "/bare") for side in pair.browsers()]
    lacking = [side.show("ana", "/require/member") for side in pair.browsers()]

    assert [answer.status_code for answer in (*unknown, *lacking)] == [403, 401, 403, 403]
    # asfquart redirects every caller without a credential to its login, scripts too.
    assert [answer.status_code for answer in nobody] == [302, 401]
    assert "WWW-Authenticate" not in unknown[0].headers
    assert "Bearer" in unknown[1].headers["WWW-Authenticate"]


def test_difference_body_of_a_refusal(pair: Pair) -> None:
    before, after = (side.show("ana", "/require/member") for side in pair.browsers())

    assert before.headers["Content-Type"].startswith("text/html")
    assert after.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("token", ["odd-raises", "odd-list"])
def test_difference_fault_of_the_handler(pair: Pair, token: str) -> None:
    before, after = (side.show(token, "/bare") for side in pair.browsers())

    assert (before.status_code, after.status_code) == (500, 503)
    assert "LookupError" not in after.text


def test_difference_session_without_uid(pair: Pair) -> None:
    before, after = (verdict(side.show("odd-nameless", "/bare")) for side in pair.browsers())

    assert (before, after) == ("in", "out")


def test_difference_committees(pair: Pair) -> None:
    before, after = (side.show("odd-committees", "/show").json()["committees"] for side in pair.browsers())

    assert (before, after) == ([], ["httpd"])


def test_difference_own_values(asynchronous: Pair) -> None:
    before, after = (become("pmc", side) for side in asynchronous.browsers())

    visits = [[verdict(side.ask("/visits")) for _ in range(3)] for side in (before, after)]
    committees = [side.ask("/show").json()["committees"] for side in (before, after)]

    assert visits == [["1", "1", "1"], ["1", "2", "3"]]
    assert committees == [[], ["httpd"]]


def test_difference_idle_time(asynchronous: Pair) -> None:
    browsers = [become("ana", side) for side in asynchronous.browsers()]

    found: list[object] = []
    for _ in range(2):
        time.sleep(RECENT_S / 2 + 0.5)
        found = [side.ask("/recent").json()["uid"] for side in browsers]

    assert found == [None, "ana"]


def test_difference_e_mail_address(pair: Pair) -> None:
    before, after = (side.show("role", "/email").json()["email"] for side in pair.browsers())

    assert (before, after) == ("role@apache.org", None)


def test_difference_scope_that_is_a_path(pair: Pair) -> None:
    before, after = (
        {path: side.show("limited", path).status_code for path in ("/bare", "/show")} for side in pair.browsers()
    )

    assert before == {"/bare": 200, "/show": 200}
    assert after == {"/bare": 403, "/show": 200}


def test_difference_scope_that_is_no_list(pair: Pair) -> None:
    before, after = (side.show("odd-scope", "/bare").status_code for side in pair.browsers())

    assert (before, after) == (200, 401)


def test_difference_empty_scope(pair: Pair) -> None:
    before, after = (side.show("odd-scopeless", "/bare").status_code for side in pair.browsers())

    assert (before, after) == (200, 403)


def test_difference_token_with_equals_sign(pair: Pair) -> None:
    before, after = (side.show("a=b", "/bare").status_code for side in pair.browsers())

    assert (before, after) == (403, 401)


def test_difference_cookie_and_token(asynchronous: Pair) -> None:
    browsers = [become("ana", side) for side in asynchronous.browsers()]

    good, bad = ([verdict(side.show(token, "/require/member")) for side in browsers] for token in ("member", "unknown"))
    bare = [verdict(side.show("unknown", "/bare")) for side in browsers]

    assert good == ["out", "in"]
    assert bad == ["out", "out"]
    assert bare == ["in", "out"]


def test_difference_other_scheme(pair: Pair) -> None:
    before, after = (side.ask("/bare", headers={"Authorization": "Digest x"}).status_code for side in pair.browsers())

    assert (before, after) == (501, 401)


def test_difference_password(pair: Pair) -> None:
    good, bad = (
        [side.ask("/bare", headers={"Authorization": basic("ana", word)}).status_code for side in pair.browsers()]
        for word in ("wonder", "wrong")
    )

    assert good == [403, 200]
    assert bad == [403, 401]


def test_difference_view_that_is_not_async(pair: Pair) -> None:
    before, after = (side.show("ana", "/plain").status_code for side in pair.browsers())

    assert (before, after) == (500, 200)


def test_difference_forged_request(asynchronous: Pair) -> None:
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}

    before, after = (
        become("ana", side).ask("/posted", "POST", headers=foreign).status_code for side in asynchronous.browsers()
    )

    assert (before, after) == (200, 403)


def test_difference_login(asynchronous: Pair) -> None:
    before, after = asynchronous.browsers()

    led = [side.open("/secret") for side in (before, after)]
    sent_on = before.open(led[0].headers["Location"])
    state = re.findall(r"state=(\w+)", sent_on.headers["Location"])[0]
    back = before.open(f"/auth?code=c&state={state}")
    form = after.open(led[1].headers["Location"])
    fields = {"username": "ana", "password": "wonder", "next": "/secret"}
    fields["token"] = form.text.partition('name="token" value="')[2].partition('"')[0]
    logged_in = after.ask("/compat-auth/login", "POST", data=fields, headers={"Origin": after.url})
    inside = [side.open("/secret") for side in (before, after)]

    assert [answer.status_code for answer in led] == [302, 302]
    assert led[0].headers["Location"] == "/auth?login=/secret?"
    assert led[1].headers["Location"] == "/compat-auth/login?next=/secret"
    assert back.headers["Refresh"] == "0; url=/secret?"
    assert (logged_in.status_code, logged_in.headers["Location"]) == (303, "/secret")
    assert [answer.json()["uid"] for answer in inside] == ["ana", "ana"]
    assert [Browser(url).ask("/secret").status_code for url in (before.url, after.url)] == [302, 401]


def test_difference_logout(asynchronous: Pair) -> None:
    before, after = (become("ana", side) for side in asynchronous.browsers())

    by_link = [before.open("/auth?logout").status_code, after.open("/compat-auth/logout").status_code]
    still_in = [verdict(side.ask("/bare", headers={"X-No-Redirect": "1"})) for side in (before, after)]
    page = after.open("/compat-auth/logout")
    token = page.text.partition('name="token" value="')[2].partition('"')[0]
    after.ask("/compat-auth/logout", "POST", data={"token": token}, headers={"Origin": after.url})

    assert by_link == [200, 200]
    assert still_in == ["out", "in"]
    assert verdict(after.ask("/bare")) == "out"
