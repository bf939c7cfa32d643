"""Shows a refusal to a person: what happened, why, and what to do next. Programs get the problem document instead.

The page is complete in itself: a front proxy can pass it on, and it needs neither the store nor any other page.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from compat_auth.config import Settings
from compat_auth.crypto.strict_json import parse_object
from compat_auth.http.browser.redirects import safe_next
from compat_auth.http.challenges import caller_of, is_bearer
from compat_auth.http.error_responses import RenderedError
from compat_auth.http.request import GateRequest
from compat_auth.web.appearance.look import Look

_HTML = "text/html; charset=utf-8"
_STYLE = (Path(__file__).parents[1] / "static" / "pages.css").read_text(encoding="utf-8")
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_HEADERS = (
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
)
# What RFC 3986 has in a URL.
_LAWFUL = "%/?#:@!$&'()*+,;=~"
_LAST_CLIENT_ERROR = 499


@dataclass(frozen=True, slots=True)
class Words:
    """The text of an error page.

    Attributes:
        heading: What happened.
        why: Why.
        step: What the reader can do.
    """

    heading: str
    why: str
    step: str


_WORDS = {
    401: Words("You are not logged in", "This page needs a login.", "Log in, and you come back to this page."),
    403: Words(
        "You have no access",
        "Your account may not open this page.",
        "Ask the administrators of this site for access, or log in with another account.",
    ),
    404: Words("There is no such page", "Nothing has this address.", "Check the address."),
    429: Words("Too many requests", "Too many requests came from you or from your network.", ""),
}
_REFUSED_LOGIN = Words(
    "Your login was not accepted",
    "The password, ticket or token that your browser sent is not valid here.",
    "Log in again.",
)
_NOT_UNDERSTOOD = Words("The request was refused", "It could not be used as it is.", "Go back and try again.")
_AWAY = Words(
    "Not available at the moment", "This site, or a service that it needs, does not answer. You did nothing wrong.", ""
)


def words_for(status: int, *, shows_credential: bool = False) -> Words:
    """Return the text for a status.

    Args:
        status: HTTP status of an error.
        shows_credential: The request had a credential.
    """
    if status == 401 and shows_credential:
        return _REFUSED_LOGIN
    return _WORDS.get(status, _NOT_UNDERSTOOD if status <= _LAST_CLIENT_ERROR else _AWAY)


def waiting_step(retry_after_s: int | None) -> str:
    """Return the next step after an error that passes."""
    if retry_after_s is None or retry_after_s <= 1:
        return "Wait a moment, then load the page again."
    return f"Wait {retry_after_s} seconds, then load the page again."


class ErrorPages:
    """Replaces problem documents by pages, for people.

    Args:
        prefix: Path prefix of our own pages.
        look: The look of the site.
        served: Paths of our pages for browsers, below the prefix; none: there is no login page to link to.
        mode: `mode`: answers of "airflow2" stay as Airflow 2 has them.
    """

    def __init__(self, prefix: str, look: Look, served: Collection[str], *, mode: str = "strict") -> None:
        self._prefix = prefix
        self._look = look
        self._served = frozenset(served)
        self._questions = f"{prefix}forward-auth/".encode("ascii")
        self._is_off = mode != "strict"
        loader = jinja2.PackageLoader("compat_auth.web", "templates")
        made = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        self._template = made.get_template("compat_auth/error.html")

    @classmethod
    def from_settings(cls, settings: Settings, served: Collection[str]) -> ErrorPages:
        """Return the pages of a configuration.

        Raises:
            ConfigError: The logo's file is unusable.
        """
        # The site's own pages serve the logo.
        return cls(settings.prefix, replace(Look.from_settings(settings), logo=None), served, mode=settings.mode)

    def show(self, request: GateRequest, error: RenderedError) -> RenderedError:
        """Return the page in place of a problem document, if a person will see it; the document otherwise."""
        # With forward-auth, the person has asked for what the proxy asks about.
        asked = request.original or request
        if self._is_off or not is_for_person(asked) or asked.path.startswith(self._questions):
            return error
        shows_credential = asked.intake.authorization is not None
        words = words_for(error.status, shows_credential=shows_credential)
        waiting = next((value for name, value in error.headers if name == "Retry-After"), None)
        body = self._template.render(
            **self._look.values(),
            prefix=asked.root + self._prefix,
            style=Markup(_STYLE),  # noqa: S704  # our own file
            heading=words.heading,
            why=_detail_of(error) or words.why,
            step=words.step or waiting_step(int(waiting) if waiting and waiting.isdigit() else None),
            links=self._links(asked, error.status),
            request_id=request.request_id.decode("latin-1"),
        )
        return replace(error, headers=(*error.headers, *_HEADERS), body=body.encode(), content_type=_HTML)

    def _links(self, request: GateRequest, status: int) -> list[tuple[str, str]]:
        links: list[tuple[str, str]] = []
        prefix = request.root + self._prefix
        if status == 401 and "login" in self._served:
            links.append((f"{prefix}login?next={quote(_target_of(request), safe='/')}", "Log in"))
        if status == 403 and "logout" in self._served:
            links.append((f"{prefix}logout", "Log in with another account"))
        home = f"{request.root}/"
        if request.path != b"/":
            links.append((home, f"Back to {self._look.upstream}"))
        return links


def is_for_person(request: GateRequest) -> bool:
    """Return whether a browser will show the answer to a person.

    A script of a page, a program that takes anything, and a request with a token are not that.
    """
    authorization = request.intake.authorization
    if authorization is not None and is_bearer(authorization.decode("latin-1")):
        return False
    headers = request.intake.kept
    accept = b",".join(value for name, value in headers if name == b"accept").lower()
    return b"text/html" in accept and caller_of(headers) == "page"


def _target_of(request: GateRequest) -> str:
    if request.method not in ("GET", "HEAD"):
        return f"{request.root}/"
    query = b"?" + request.query if request.query else b""
    path = request.root + (request.path + query).decode("ascii")
    return safe_next(quote(path, safe=_LAWFUL), f"{request.root}/")


def _detail_of(error: RenderedError) -> str:
    try:
        detail: object = parse_object(error.body).get("detail")
    except ValueError:
        # The page has its own reason then: a person must not get a 500 in place of a refusal.
        return ""
    return detail if isinstance(detail, str) else ""
