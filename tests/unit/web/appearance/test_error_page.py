"""A person gets a page in place of a problem document; a program gets the document, byte by byte."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import pytest

from compat_auth.errors import BackendUnavailable, NoSuchPage, NotPermitted, TooManyRequests
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.error_responses import ErrorStyle, RenderedError
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest
from compat_auth.web.appearance.error_page import ErrorPages
from compat_auth.web.appearance.look import Look

ENGINE = b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
NAVIGATES: RawHeaders = [(b"sec-fetch-mode", b"navigate"), (b"accept", b"text/html,*/*;q=0.8")]
PLAIN_HTTP: RawHeaders = [(b"user-agent", ENGINE), (b"accept-language", b"en"), (b"accept", b"text/html,*/*;q=0.8")]
SERVED = ("", "login", "logout")
STYLE = ErrorStyle()


def asked(headers: RawHeaders, path: bytes = b"/api/v2/dags", *, query: bytes = b"", root: str = "") -> GateRequest:
    return GateRequest(
        {"root_path": root}, take_in([(b"host", b"a"), *headers]), "GET", path, query, "192.0.2.1", request_id=b"id-1"
    )


def pages(served: tuple[str, ...] = SERVED, *, mode: str = "strict", site_name: str = "") -> ErrorPages:
    return ErrorPages("/compat-auth/", Look(site_name=site_name, upstream="Airflow"), served, mode=mode)


@pytest.mark.parametrize("headers", [NAVIGATES, PLAIN_HTTP], ids=["fetch-metadata", "plain-http"])
@pytest.mark.parametrize(
    ("error", "heading"),
    [
        (STYLE.render(401, ("Negotiate",)), "You are not logged in"),
        (STYLE.render_error(NotPermitted("another team")), "You have no access"),
        (STYLE.render_error(NoSuchPage("/x: no such page")), "There is no such page"),
        (STYLE.render_error(TooManyRequests("too many", 30)), "Too many requests"),
        (STYLE.render_error(BackendUnavailable("secret host is down")), "Not available at the moment"),
        (STYLE.render(400, detail="two Host headers"), "The request was refused"),
    ],
    ids=["401", "403", "404", "429", "503", "400"],
)
def test_a_person_reads_what_happened_and_what_to_do(headers: RawHeaders, error: RenderedError, heading: str) -> None:
    shown = pages().show(asked(headers), error)

    text = shown.body.decode()
    assert shown.content_type == "text/html; charset=utf-8"
    assert shown.status == error.status
    assert shown.headers[: len(error.headers)] == error.headers
    assert f"<h1>{heading}</h1>" in text
    assert "<code>id-1</code>" in text
    assert "secret host" not in text
    assert "<script" not in text


PROGRAMS: dict[str, RawHeaders] = {
    "nothing": [],
    "anything": [(b"accept", b"*/*")],
    "json": [(b"accept", b"application/json")],
    "program-that-takes-html": [(b"accept", b"text/html, */*"), (b"user-agent", b"Java/17.0.1")],
    "script-of-a-page": [(b"sec-fetch-mode", b"cors"), (b"accept", b"text/html")],
    "image-of-a-page": [(b"sec-fetch-mode", b"no-cors"), (b"accept", b"image/*")],
    "xhr": [*PLAIN_HTTP, (b"x-requested-with", b"XMLHttpRequest")],
    "navigation-for-json": [(b"sec-fetch-mode", b"navigate"), (b"accept", b"application/json")],
    "bearer": [*NAVIGATES, (b"authorization", b"Bearer x.y.z")],
}


@pytest.mark.parametrize("headers", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_a_program_gets_the_document_as_it_is(headers: RawHeaders, status: int) -> None:
    error = STYLE.render(status, ("Basic",), "why")

    assert pages().show(asked(headers), error) is error


def test_mode_airflow2_answers_people_as_airflow_2_does() -> None:
    error = ErrorStyle("airflow2").render(401, ("Basic",))

    assert pages(mode="airflow2").show(asked(NAVIGATES), error) is error


def test_a_front_proxy_that_asks_with_a_persons_headers_but_about_nothing_gets_the_document() -> None:
    error = STYLE.render(403)

    assert pages().show(asked(NAVIGATES, b"/compat-auth/forward-auth/nginx"), error) is error


def test_with_forward_auth_the_page_is_about_what_the_person_asked_for() -> None:
    request = asked([], b"/compat-auth/forward-auth/traefik")
    request.original = asked(NAVIGATES, b"/team/x", query=b"y=1")

    text = pages().show(request, STYLE.render(401)).body.decode()

    assert 'href="/compat-auth/login?next=/team/x%3Fy%3D1"' in text


def test_the_login_leads_back_below_the_path_in_front_of_us() -> None:
    text = pages().show(asked(NAVIGATES, query=b"limit=1", root="/air"), STYLE.render(401)).body.decode()

    assert 'href="/air/compat-auth/login?next=/air/api/v2/dags%3Flimit%3D1"' in text
    assert 'href="/air/">Back to Airflow<' in text


@pytest.mark.parametrize(
    ("path", "target"),
    [(b"//evil.example/x", "/"), (b"/%2Fevil.example", "/"), (b"/x%22y", "/x%2522y")],
    ids=["two-slashes", "coded-slash", "quote"],
)
def test_the_login_never_leads_to_another_host(path: bytes, target: str) -> None:
    text = pages().show(asked(NAVIGATES, path), STYLE.render(401)).body.decode()

    assert f'login?next={target}"' in text


def test_without_a_login_page_nothing_leads_to_one() -> None:
    text = pages(()).show(asked(NAVIGATES), STYLE.render(401)).body.decode()

    assert "login?next" not in text


def test_a_wrong_credential_has_its_own_words() -> None:
    request = asked([*NAVIGATES, (b"authorization", b"Basic eDp5")])

    assert "Your login was not accepted" in pages().show(request, STYLE.render(401)).body.decode()


def test_the_time_to_wait_is_that_of_the_header() -> None:
    text = pages().show(asked(NAVIGATES), STYLE.render_error(TooManyRequests("too many", 30))).body.decode()

    assert "Wait 30 seconds" in text


def test_texts_of_the_request_and_of_the_site_are_no_markup() -> None:
    request = replace(asked(NAVIGATES), request_id=b"<b>")

    text = pages(site_name="<i>Data</i>").show(request, STYLE.render(403, detail="<script>x</script>")).body.decode()

    assert "<script>" not in text
    assert "<i>" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;" in text


def test_the_policy_allows_the_pages_own_style_and_nothing_else() -> None:
    shown = pages().show(asked(NAVIGATES), STYLE.render(404))

    style = re.findall(r"<style>(.*?)</style>", shown.body.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    policy = dict(shown.headers)["Content-Security-Policy"]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert len(style) == 1
    assert dict(shown.headers)["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        b'"text"',
        b"null",
        b"7",
        b'{"detail": 7}',
        b'{"detail": "\\ud800"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=["empty", "text", "list", "string", "null", "number", "detail-is-a-number", "surrogate", "no-utf-8", "deep"],
)
def test_a_refusal_whose_body_has_no_detail_gets_the_page_with_its_general_reason(body: bytes) -> None:
    error = replace(STYLE.render(403), body=body)

    text = pages().show(asked(NAVIGATES), error).body.decode()

    assert "Your account may not open this page." in text
