"""Builds the fast paths of the gateway from the parts of its gate."""

from __future__ import annotations

from dataclasses import dataclass

from compat_auth.composition.gate import GateParts, lane_of
from compat_auth.config import Settings
from compat_auth.gateway.fast.errands import Errands
from compat_auth.gateway.fast.fast_paths import FastPaths
from compat_auth.gateway.fast.forward_auth_answers import ForwardAuthAnswers
from compat_auth.gateway.fast.lane_answers import LaneAnswers
from compat_auth.gateway.fast.warm_grants import WarmGrants
from compat_auth.gateway.forward_auth.access import Access
from compat_auth.gateway.forward_auth.tokens import ForwardAuthTokens
from compat_auth.usage.recorder import usage_of


@dataclass(frozen=True, slots=True, repr=False)
class FastParts:
    """Builds the fast paths.

    Attributes:
        parts: The parts of the gate.
        settings: The settings.
        access: Who may ask for forward-auth; None: it is off.
        tokens: Makes the tokens that front proxies get.
        front_port: The port of the listener that serves front proxies alone; None: there is none.
    """

    parts: GateParts
    settings: Settings
    access: Access | None
    tokens: ForwardAuthTokens
    front_port: int | None

    def build(self, pages: frozenset[str]) -> FastPaths | None:
        """Return the fast paths; None where they are off.

        Args:
            pages: The paths of our own pages; one that ends with a slash stands for all below it.
        """
        # Only the ASGI application makes spans.
        if not self.settings.serve.fast_protocol or self.settings.tracing.enabled:
            return None
        place, rules = self.parts.place, self.parts.rules
        parts = self.parts
        warm = WarmGrants(
            rules, place.root, parts.decider, parts.revoked, reads_peer=parts.asks_peer, stages=parts.stages
        )
        answers = lane = None
        usage = usage_of(self.parts.decider.app)
        if self.access is not None:
            answers = ForwardAuthAnswers(warm, self.access, place.trusted, self.tokens, rules.prefix, place.root, usage)
            lane = LaneAnswers(lane_of(self.parts, self.access), self.access, place.trusted, rules, place.root)
        return FastPaths(place.trusted, answers, self._errands(warm, pages), self.front_port, lane)

    def _errands(self, warm: WarmGrants, pages: frozenset[str]) -> Errands | None:
        upstream = self.settings.upstream
        if not upstream.url.startswith("http://"):
            # TLS to the upstream is aiohttp's.
            return None
        # The paths of the old API are translated, and Airflow's pages are for browsers.
        below = b"/" if upstream.profile == "generic" else b"/api/v2/"
        own = frozenset(page.encode("ascii") for page in pages)
        return Errands(
            warm,
            upstream,
            self.parts.place.trusted,
            below=below,
            prefix=self.parts.rules.prefix,
            pages=own,
            usage=usage_of(self.parts.decider.app),
        )
