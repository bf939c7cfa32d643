"""Counts the requests of a gate in the usage, once each: where it is known who asked and what came of it."""

from __future__ import annotations

from compat_auth.gateway.authorization import GateRules
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.headers import has_cookie
from compat_auth.http.request import GateRequest
from compat_auth.scopes import METHOD_OVERRIDES
from compat_auth.usage.recorder import UsageRecorder

_USER_AGENT = b"user-agent"
_ERROR = 400


class RequestUsage:
    """The requests of one gate.

    Args:
        recorder: Counts.
        rules: The gate's.
    """

    def __init__(self, recorder: UsageRecorder, rules: GateRules) -> None:
        self._recorder = recorder
        self._rules = rules
        self._front_pages = rules.prefix + b"forward-auth/"

    def count(self, request: GateRequest, status: int) -> None:
        """Count a request whose answer has ended.

        A request without a decision, such as one for a public page, does not count.

        Args:
            request: As it was taken in.
            status: Status of its answer; 0: there was none.
        """
        asked = request if request.original is None else request.original
        if asked is request and request.path.startswith(self._front_pages):
            # The lane counts by itself; any other question could not be read.
            return
        identity = asked.outcome.identity
        is_refused, is_error = request.outcome.is_refused, status >= _ERROR or not status
        path, agent = asked.path.decode("ascii"), agent_of(asked.intake.kept)
        if identity is None and not is_refused:
            if self._goes_to_upstream(asked):
                # The status of an answer to a front proxy is not the upstream's.
                self._recorder.count_upstreams(
                    asked.method, path, status=status if asked is request else None, agent=agent
                )
            return
        methods = {asked.method}
        if asked is not request:
            # A front proxy forwards an override: the upstream may read the request either way.
            found = (value for name in METHOD_OVERRIDES for value in asked.intake.forward.get(name, ()))
            methods |= {value.decode("latin-1").strip().upper() for value in found}
        for method in methods:
            self._recorder.count(
                method,
                path,
                identity=identity,
                agent=agent,
                address=asked.client,
                is_refused=is_refused,
                is_error=is_error,
            )

    def _goes_to_upstream(self, asked: GateRequest) -> bool:
        """Return whether the upstream alone has checked the caller of a request: by its token, or its cookie."""
        if not self._rules.guards(asked.path) or asked.path.startswith(self._rules.prefix):
            return False
        cookies = asked.intake.cookies
        return asked.intake.authorization is not None or any(
            has_cookie(cookies, name) for name in self._rules.identity_cookies[:1]
        )


def agent_of(headers: RawHeaders) -> bytes:
    """Return the User-Agent among headers with names in lower case; b"" where there is none."""
    for name, value in headers:
        if name == _USER_AGENT:
            return value
    return b""
