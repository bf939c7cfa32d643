"""Which challenges a client sees: programs all of them, browsers none that opens a password dialog."""

import pytest

from compat_auth.http.challenges import Caller, caller_of, challenges_for

CHROME = b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
FIREFOX = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = (
    b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15 Safari/605"
)
EXPLORER = b"Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko"
BROWSERS = (CHROME, FIREFOX, SAFARI, EXPLORER)
# What programs send, as seen on the wire.
PROGRAMS = {
    "curl": {b"user-agent": b"curl/8.14.1", b"accept": b"*/*"},
    "airflow-client": {b"user-agent": b"OpenAPI-Generator/2.10.0/python", b"accept": b"application/json"},
    "requests": {b"user-agent": b"python-requests/2.32.5", b"accept": b"*/*"},
    "java": {b"user-agent": b"Java/17.0.1", b"accept": b"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"},
    "w3m": {b"user-agent": b"w3m/0.5.3", b"accept": b"text/html, text/*;q=0.5", b"accept-language": b"en"},
    "windows-powershell": {
        b"user-agent": b"Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.1"
    },
    "powershell": {
        b"user-agent": b"Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.19045; en-US) PowerShell/7.4.0",
        b"accept-language": b"en",
    },
    "winhttp": {b"user-agent": b"Mozilla/4.0 (compatible; Win32; WinHttp.WinHttpRequest.5)", b"accept-language": b"de"},
    "monitor": {b"user-agent": b"Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"},
    "nothing": {},
}
ALL = ('Basic realm="Airflow", charset="UTF-8"', "Negotiate", "Bearer")


@pytest.mark.parametrize("headers", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_sees_every_challenge(headers: dict[bytes, bytes]) -> None:
    caller = caller_of(headers.items())

    assert caller == "program"
    assert challenges_for(caller, ALL) == ALL


@pytest.mark.parametrize("agent", BROWSERS)
@pytest.mark.parametrize(("accept", "expected"), [(b"*/*", "script"), (b"text/html,*/*;q=0.8", "page")])
def test_a_browser_without_fetch_metadata_is_known_by_its_engine(agent: bytes, accept: bytes, expected: str) -> None:
    headers = [(b"user-agent", agent), (b"accept", accept), (b"accept-language", b"en")]

    assert caller_of(headers) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param([(b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document")], "page", id="navigation"),
        pytest.param([(b"sec-fetch-mode", b"cors"), (b"sec-fetch-site", b"same-origin")], "script", id="fetch"),
        pytest.param([(b"sec-fetch-mode", b"no-cors"), (b"sec-fetch-dest", b"image")], "script", id="image"),
        pytest.param([(b"sec-fetch-site", b"same-origin")], "script", id="site-alone"),
        pytest.param([(b"x-requested-with", b"XMLHttpRequest")], "script", id="jquery"),
    ],
)
def test_fetch_metadata_tell_a_page_from_what_it_loads(headers: list[tuple[bytes, bytes]], expected: str) -> None:
    assert caller_of([(b"user-agent", b"anything"), *headers]) == expected


@pytest.mark.parametrize(
    "challenge",
    [
        'Basic realm="Airflow"',
        "BASIC",
        'Digest realm="x", nonce="y"',
        "NTLM",
        'Bearer realm="x", Basic realm="y"',
        'Bearer,basic realm="y"',
        'SCRAM-SHA-256 realm="x"',
    ],
)
@pytest.mark.parametrize("caller", ["page", "script"])
def test_a_browser_sees_no_challenge_that_opens_a_dialog(caller: Caller, challenge: str) -> None:
    assert challenges_for(caller, (challenge,)) == ("Bearer",)


def test_a_page_may_answer_with_a_ticket_and_what_it_loads_may_not() -> None:
    assert challenges_for("page", ALL) == ("Negotiate", "Bearer")
    assert challenges_for("script", ALL) == ("Bearer",)


@pytest.mark.parametrize("caller", ["page", "script"])
@pytest.mark.parametrize("leg", ["Negotiate oRQwEqADCgEB", "NTLM TlRMTVNTUAACAAAA=="])
def test_a_handshake_that_the_browser_has_begun_goes_on(caller: Caller, leg: str) -> None:
    assert challenges_for(caller, (leg, 'Basic realm="x"')) == (leg,)


@pytest.mark.parametrize("challenge", ["Bearer", "Token", 'DPoP algs="ES256"', 'Basically realm="x"'])
def test_a_scheme_that_browsers_do_not_know_stays(challenge: str) -> None:
    assert challenges_for("script", (challenge,)) == (challenge,)


def test_no_challenge_stays_none_as_airflow_2_sends_it() -> None:
    assert challenges_for("script", ()) == ()
