"""Finds the grant of a request whose decision is in memory: the gate's own checks, in the gate's order.

Every function raises `TakesOrdinaryWay` where the gate would do anything else than forward the request as it is.
"""

from __future__ import annotations

from compat_auth.authn.users.acting import require_nobody_in, take_acts_for
from compat_auth.crypto.personal_token_format import holds_one
from compat_auth.errors import CompatAuthError
from compat_auth.gateway.authorization import GateRules
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted
from compat_auth.gateway.fast.candidate import TakesOrdinaryWay
from compat_auth.gateway.stages.gate_stages import GateStages
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.browser.csrf import SAFE_METHODS
from compat_auth.http.headers import Intake, take_in, without_cookies
from compat_auth.http.paths import canonical_query, read_path
from compat_auth.http.request import Shown
from compat_auth.http.root_path import RootPath
from compat_auth.tokens.revoked import RevokedTokens

# What a browser says about the page behind a request that changes something.
_ABOUT_PAGE = frozenset((b"origin", b"sec-fetch-site"))
# No value of ours may end a header line.
_PRINTABLE = bytes(range(0x20, 0x7F))


class WarmGrants:
    """Reads requests and finds their grants.

    Args:
        rules: The gate's.
        root: The path in front of all paths.
        decider: Remembers credentials.
        revoked: The upstream's revoked tokens.
        reads_peer: Whether a decision may depend on what a proxy says about the caller in identity headers.
        stages: The stages of logins; None: there are none.
    """

    def __init__(
        self,
        rules: GateRules,
        root: RootPath,
        decider: Decider,
        revoked: RevokedTokens,
        *,
        reads_peer: bool,
        stages: GateStages | None = None,
    ) -> None:
        self._rules = rules
        self._root = root
        self._decider = decider
        self._revoked = revoked
        self._reads_peer = reads_peer
        self._stages = stages
        self._dropped = rules.dropped_cookies

    def take_in(self, headers: RawHeaders, raw_query: bytes) -> Intake:
        """Return the header section of a request that has an Authorization value, and no cookie for us or an identity.

        Raises:
            TakesOrdinaryWay: It is another kind of request, or malformed.
        """
        rules = self._rules
        try:
            intake = take_in(headers, api_key=rules.api_key, named=rules.identity_headers)
            if rules.do_as:
                take_acts_for(intake, raw_query)
        except CompatAuthError:
            raise TakesOrdinaryWay from None
        if intake.authorization is None or intake.acts_for or (self._reads_peer and intake.identity):
            raise TakesOrdinaryWay
        if intake.cookies and without_cookies(intake.cookies, self._dropped) != intake.cookies:
            raise TakesOrdinaryWay
        return intake

    def read_target(self, target: bytes) -> tuple[bytes, bytes]:
        """Return the canonical path, as the decisions see it, and the canonical query of a request target.

        Raises:
            TakesOrdinaryWay: The gate refuses or redirects such a target.
        """
        path, _, query = target.partition(b"?")
        try:
            canonical = canonical_query(query) if query else b""
            if canonical and self._rules.do_as:
                require_nobody_in(canonical)
            return self._root.strip(read_path(path, self._rules.rests)), canonical
        except CompatAuthError:
            raise TakesOrdinaryWay from None

    def find(self, intake: Intake, method: str, path: bytes) -> Granted:
        """Return the remembered grant with which a request may be forwarded as it is.

        Args:
            intake: Its header section, as `take_in` returns it.
            method: Its method, upper case.
            path: Its canonical path.

        Raises:
            TakesOrdinaryWay: There is none, or the request is limited by scopes or requirements.
        """
        shown = self._ordinary(intake, method, path)
        granted = self._decider.recall_settled(shown)
        if granted is None or granted.identity.scopes is not None or granted.headers:
            raise TakesOrdinaryWay
        if granted.bearer.translate(None, _PRINTABLE):
            raise TakesOrdinaryWay
        if self._stages is not None and not self._stages.leaves(granted.identity, method, path):
            raise TakesOrdinaryWay
        return granted

    def upstreams_bearer(self, intake: Intake, method: str, path: bytes) -> bytes | None:
        """Return the Authorization value of a request with a Bearer that only the upstream checks; None for any other.

        Args:
            intake: See `find`.
            method: See `find`.
            path: See `find`.

        Raises:
            TakesOrdinaryWay: The request is limited by requirements.
        """
        authorization = intake.authorization
        if authorization is None or authorization[:7].lower() != b"bearer ":
            return None
        shown = self._ordinary(intake, method, path)
        if authorization.translate(None, _PRINTABLE) or holds_one(authorization):
            return None
        try:
            if not self._decider.leaves_to_upstream(shown):
                return None
        except CompatAuthError:
            return None
        if self._stages is not None and not self._stages.leaves_bearer(shown):
            raise TakesOrdinaryWay
        return authorization

    def _ordinary(self, intake: Intake, method: str, path: bytes) -> Shown:
        """Return the Authorization value of a request about which only its credential has to be decided.

        Raises:
            TakesOrdinaryWay: It is another kind of request, or its token may be revoked.
        """
        rules, authorization = self._rules, intake.authorization
        if authorization is None or not rules.guards(path) or rules.task_api.cover(path):
            raise TakesOrdinaryWay
        if rules.requirements and any(rule.objects or rule.covers(method, path) for rule in rules.requirements):
            raise TakesOrdinaryWay
        if method not in SAFE_METHODS and not _ABOUT_PAGE.isdisjoint([name for name, _ in intake.kept]):
            raise TakesOrdinaryWay
        if not authorization.isascii() or self._revoked.good_s(authorization) <= 0:
            raise TakesOrdinaryWay
        return Shown(authorization.decode("ascii"))
