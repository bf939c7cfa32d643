"""Answers of forward-auth for warm credentials, byte for byte as the ASGI application gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compat_auth.gateway.fast.candidate import Candidate, Ends, TakesOrdinaryWay
from compat_auth.gateway.fast.warm_grants import WarmGrants
from compat_auth.gateway.forward_auth.access import Access
from compat_auth.gateway.forward_auth.dialects import DIALECTS, Dialect
from compat_auth.gateway.forward_auth.lane import COOKIE_HEADER
from compat_auth.gateway.forward_auth.tokens import ForwardAuthTokens
from compat_auth.gateway.middleware import REFUSED_METHODS
from compat_auth.gateway.telemetry.usage import agent_of
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.headers import Intake, is_host
from compat_auth.http.root_path import RootPath
from compat_auth.identity import Identity
from compat_auth.scopes import METHOD_OVERRIDES
from compat_auth.telemetry.access_log import OPTIONS, AccessEntry, write_access
from compat_auth.telemetry.counts import count_cached
from compat_auth.telemetry.request_ids import request_id_of
from compat_auth.usage.recorder import UsageRecorder

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncache-control: no-store\r\nauthorization: %b\r\n"
_YES = _HEAD + b"x-request-id: %b\r\n\r\n"
_YES_WITH_COOKIES = _HEAD + b"%b: %b\r\nx-request-id: %b\r\n\r\n"
_REFUSED_METHODS = frozenset(method.encode("ascii") for method in REFUSED_METHODS)


class ForwardAuthAnswers:
    """Says yes to a front proxy.

    Args:
        warm: Finds grants.
        access: Who may ask.
        trusted: Proxies whose headers about the caller are believed.
        tokens: Makes the Authorization values that front proxies get.
        prefix: Where our own pages live, with both slashes.
        root: The path in front of all paths.
        usage: Counts who uses what; None: nobody does.
    """

    def __init__(
        self,
        warm: WarmGrants,
        access: Access,
        trusted: TrustedProxies,
        tokens: ForwardAuthTokens,
        prefix: bytes,
        root: RootPath,
        usage: UsageRecorder | None = None,
    ) -> None:
        self._warm = warm
        self._access = access
        self._trusted = trusted
        self._tokens = tokens
        self._usage = usage
        pages = {prefix + b"forward-auth/" + name.encode("ascii"): dialect for name, dialect in DIALECTS.items()}
        self.pages: Mapping[bytes, Dialect] = {
            path: dialect for path, dialect in pages.items() if root.strip(path) == path
        }
        """The dialects, by request target of their pages."""
        # Without a secret, only the listener of front proxies has these pages.
        self._anywhere = bool(access.secret)

    def answer(self, asked: Candidate, dialect: Dialect, ends: Ends) -> bytes:
        """Return the yes to a front proxy that asks about a request.

        Raises:
            TakesOrdinaryWay: The answer is another one, or is not in memory.
        """
        if asked.method != b"GET" or asked.length or not (ends.is_front or self._anywhere):
            raise TakesOrdinaryWay
        intake = self._warm.take_in(asked.headers, b"")
        forward, has_cookies = intake.forward, bool(intake.cookies)
        if self._access.find_fault(self._trusted, ends.peer, asked.headers, forward):
            raise TakesOrdinaryWay
        target, method = _original(dialect, forward)
        path, _ = self._warm.read_target(target)
        backend = username = ""
        identity: Identity | None = None
        bearer = self._warm.upstreams_bearer(intake, method, path)
        if bearer is None:
            granted = self._warm.find(intake, method, path, ends)
            bearer = self._tokens.recorded_bearer(granted)
            if bearer is None:
                raise TakesOrdinaryWay
            if granted.used is not None:
                granted.used()
            identity = granted.identity
            backend, username = identity.backend, identity.username
            count_cached(backend)
        request_id = request_id_of(asked.headers, is_trusted=ends.is_trusted)
        if OPTIONS.is_on:
            client = self._trusted.client_behind(ends.peer, forward)
            write_access(AccessEntry(request_id, "GET", asked.url, client, 200, 0.0, 0, backend, username))
        self._count(method, path, identity, intake, ends)
        if has_cookies:
            cookies = b"; ".join(intake.cookies)
            return _YES_WITH_COOKIES % (bearer, COOKIE_HEADER, cookies, request_id)
        return _YES % (bearer, request_id)

    def _count(self, method: str, path: bytes, identity: Identity | None, intake: Intake, ends: Ends) -> None:
        usage, agent = self._usage, agent_of(intake.kept)
        if usage is None:
            return
        if identity is None:
            usage.count_upstreams(method, path.decode("ascii"), status=None, agent=agent)
            return
        address = self._trusted.client_behind(ends.peer, intake.forward)
        usage.count(method, path.decode("ascii"), identity=identity, agent=agent, address=address)


def _original(dialect: Dialect, forward: Mapping[bytes, Sequence[bytes]]) -> tuple[bytes, str]:
    """Return the target and the method of the original request, where the front proxy names one of each and no override.

    Raises:
        TakesOrdinaryWay: It names more, or fewer, or names them in another way.
    """
    targets, methods = forward.get(dialect.uri, ()), forward.get(dialect.method, ())
    if len(targets) != 1 or len(methods) != 1:
        raise TakesOrdinaryWay
    method = methods[0]
    if not method.isalpha() or not method.isupper() or method in _REFUSED_METHODS:
        raise TakesOrdinaryWay
    hosts = forward.get(dialect.host)
    if hosts and (len(hosts) != 1 or not is_host(hosts[0])):
        raise TakesOrdinaryWay
    if any(name in forward for name in METHOD_OVERRIDES):
        raise TakesOrdinaryWay
    return targets[0], method.decode("ascii")
