"""Answers of the lane, byte for byte as the ASGI application gives them."""

from __future__ import annotations

from compat_auth.authn.users.acting import take_acts_for
from compat_auth.errors import CompatAuthError
from compat_auth.gateway.authorization import GateRules
from compat_auth.gateway.fast.candidate import Candidate, Ends, TakesOrdinaryWay
from compat_auth.gateway.forward_auth.access import SECRET_HEADER, Access
from compat_auth.gateway.forward_auth.lane import LANE_PAGE, Lane
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.headers import take_in
from compat_auth.http.request import Shown
from compat_auth.http.root_path import RootPath
from compat_auth.telemetry.access_log import OPTIONS
from compat_auth.telemetry.request_ids import request_id_of

_YES = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncache-control: no-store\r\n"
_NO = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\ncache-control: no-store\r\n"
_END = b"x-request-id: %b\r\n\r\n"
# Beside any other header, the gate might have more to say: to a browser, for one.
_USUAL = frozenset(
    (
        b"host",
        b"authorization",
        b"cookie",
        b"connection",
        b"content-length",
        b"x-forwarded-for",
        b"x-request-id",
        SECRET_HEADER,
    )
)


class LaneAnswers:
    """Answers a front proxy that asks about a credential.

    Args:
        lane: Knows the answers.
        access: Who may ask.
        trusted: Proxies whose headers about the caller are believed.
        rules: The gate's.
        root: The path in front of all paths.
    """

    def __init__(self, lane: Lane, access: Access, trusted: TrustedProxies, rules: GateRules, root: RootPath) -> None:
        self._lane = lane
        self._access = access
        self._trusted = trusted
        self._rules = rules
        page = rules.prefix + LANE_PAGE.encode("ascii")
        self.page = page if root.strip(page) == page else b""
        """The request target of the page; b"" where another page has that target."""
        # Without a secret, only the listener of front proxies has the page.
        self._anywhere = bool(access.secret)

    def answer(self, asked: Candidate, ends: Ends) -> bytes:
        """Return the answer.

        Raises:
            TakesOrdinaryWay: The question is another one, nobody may ask it here, or the access log needs a line.
        """
        if OPTIONS.is_on:
            raise TakesOrdinaryWay
        if asked.method != b"GET" or asked.length or not (ends.is_front or self._anywhere):
            raise TakesOrdinaryWay
        rules, headers = self._rules, asked.headers
        if not _USUAL.issuperset([name for name, _ in headers]):
            raise TakesOrdinaryWay
        try:
            intake = take_in(headers, api_key=rules.api_key, named=rules.identity_headers)
            if rules.do_as:
                take_acts_for(intake, b"")
        except CompatAuthError:
            raise TakesOrdinaryWay from None
        authorization = intake.authorization
        if authorization is None or not authorization.isascii():
            raise TakesOrdinaryWay
        if self._access.find_fault(self._trusted, ends.peer, headers, intake.forward):
            raise TakesOrdinaryWay
        shown = Shown(authorization.decode("ascii"), acts_for=intake.acts_for)
        client = self._trusted.client_behind(ends.peer, intake.forward)
        found = self._lane.headers_of(intake, lambda: shown, client)
        end = _END % request_id_of(headers, is_trusted=ends.is_trusted)
        return _NO + end if found is None else b"".join((_YES, _lines(found), end))


def _lines(headers: RawHeaders) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)
