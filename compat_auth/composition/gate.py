"""Builds a gate and its parts, for the gateway and for Airflow; the pages use these parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compat_auth.api.oauth.token_endpoint import EndpointParts
from compat_auth.gateway.admission import Admission, Browsers
from compat_auth.gateway.authorization import Authorization, GateRules
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.forward_auth.access import Access
from compat_auth.gateway.forward_auth.lane import Lane
from compat_auth.gateway.forward_auth.pages import BearerFor, ForwardAuth
from compat_auth.gateway.forwarding import Forwarding
from compat_auth.gateway.identification import Identification
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.gateway.origins import UpstreamOrigins
from compat_auth.gateway.refusals import Refusals, ShowError
from compat_auth.gateway.stages.gate_stages import GateStages
from compat_auth.gateway.telemetry.usage import RequestUsage
from compat_auth.http.asgi import ASGIApp
from compat_auth.http.body import BodyBudget
from compat_auth.http.forwarded import Peers, TrustedProxies
from compat_auth.http.request import GateRequest
from compat_auth.http.root_path import RootPath
from compat_auth.tokens.revoked import RevokedTokens
from compat_auth.usage.recorder import usage_of

MAX_JUDGED_BODY_BYTES = 1024 * 1024
"""Limit of a body that a backend has to see before the request is forwarded, unless the settings say otherwise."""


@dataclass(frozen=True, slots=True, repr=False)
class Place:
    """The place of a gate.

    Attributes:
        app: The application behind the gate.
        upstream: The application without a translation in between: it knows the CORS settings; None: `app`.
        trusted: Proxies whose headers about the caller are believed.
        root: The path in front of all paths, which neither the decisions nor the upstream see.
        tells_origins: See `UpstreamOrigins`.
        authorization: Allows requests at this place.
        forwarding: Makes the forwarding at this place from the app, the decider, the refusals and the upstream.
    """

    app: ASGIApp
    authorization: Authorization
    trusted: TrustedProxies
    upstream: ASGIApp | None = None
    root: RootPath = RootPath()  # noqa: RUF009  # nothing changes in it
    tells_origins: bool = False
    forwarding: Callable[[Place, Decider, Refusals], Forwarding] = lambda place, decider, _refusals: Forwarding(
        place.app, place.authorization, decider, place.upstream
    )


@dataclass(frozen=True, slots=True, repr=False)
class GateParts:
    """The parts of a gate and its pages.

    Attributes:
        place: The place of the gate.
        decider: Decides about credentials.
        revoked: The upstream's revoked tokens.
        refusals: Refuses.
        forwarding: Forwards.
        origins: The upstream's CORS rules.
        identification: Decides about callers.
        admission: Admits requests to the application behind the gate.
        browsers: The treatment of browsers; None: they are treated as programs.
        stages: The stages of logins; None: there are none.
    """

    place: Place
    decider: Decider
    revoked: RevokedTokens
    refusals: Refusals
    forwarding: Forwarding
    origins: UpstreamOrigins
    identification: Identification
    admission: Admission
    browsers: Browsers | None
    stages: GateStages | None = None

    @classmethod
    def build(
        cls,
        place: Place,
        decider: Decider,
        revoked: RevokedTokens,
        *,
        metadata_url: Callable[[GateRequest], str] | None = None,
        browsers: Browsers | None = None,
        show_error: ShowError | None = None,
    ) -> GateParts:
        """Return the parts of a gate.

        Args:
            place: The place of the gate.
            decider: Decides about credentials.
            revoked: The upstream's revoked tokens.
            metadata_url: See `Refusals`.
            browsers: The treatment of browsers; None: they are treated as programs.
            show_error: See `Refusals`.
        """
        authorization, rules = place.authorization, place.authorization.rules
        refusals = Refusals(rules.style, decider.chain.challenges(), metadata_url, show_error)
        forwarding = place.forwarding(place, decider, refusals)
        origins = UpstreamOrigins(forwarding, rules.prefix, tells=place.tells_origins)
        stages = GateStages.of(decider.app, rules.upstream_cookie, rules.logouts | rules.to_login)
        identification = Identification(decider, revoked, origins, rules.upstream_cookie, stages)
        admission = Admission(identification, authorization, forwarding, refusals, revoked, browsers)
        return cls(place, decider, revoked, refusals, forwarding, origins, identification, admission, browsers, stages)

    @property
    def authorization(self) -> Authorization:
        """Allows requests."""
        return self.place.authorization

    @property
    def rules(self) -> GateRules:
        """The gate's rules for paths and cookies."""
        return self.place.authorization.rules

    @property
    def asks_peer(self) -> bool:
        """Whether a decision may depend on the other end of the connection: a certificate, or a proxy's identity headers."""
        return self.rules.sees_certificates or any(backend.reads_peer for backend in self.decider.chain.backends)

    def endpoint(self) -> EndpointParts:
        """Return the parts that the token endpoint uses."""
        return EndpointParts(
            self.decider, self.identification, self.authorization, self.admission, self.origins, self.refusals
        )

    def gate(self, pages: Mapping[str, Page], *, max_judged_body: int = MAX_JUDGED_BODY_BYTES) -> Gate:
        """Return the gate.

        Args:
            pages: Our own; see `Gate`.
            max_judged_body: Bytes of a body that a backend must see before the request is forwarded; beyond: 413.
        """
        trusted, names = self.place.trusted, self.rules.identity_headers
        recorder = usage_of(self.decider.app)
        return Gate(
            self.place.app,
            self.rules,
            self.admission,
            self.refusals,
            self.origins,
            trusted=trusted,
            pages=pages,
            bodies=BodyBudget(max_judged_body) if self.decider.chain.reads_bodies() else None,
            body_timeout_s=self.decider.lanes.timeout_s,
            browsers=self.browsers,
            root=self.place.root,
            peers=Peers(trusted, names) if self.asks_peer else None,
            usage=None if recorder is None else RequestUsage(recorder, self.rules),
        )


def forward_auth_of(parts: GateParts, access: Access, bearer_for: BearerFor) -> ForwardAuth:
    """Return forward-auth at a gate.

    Args:
        parts: Of the gate.
        access: Who may ask.
        bearer_for: Makes the Authorization value of an accepted request.
    """
    return ForwardAuth(
        access,
        bearer_for,
        parts.identification,
        parts.authorization,
        parts.revoked,
        parts.refusals,
        trusted=parts.place.trusted,
        browsers=parts.browsers,
        root=parts.place.root,
        lane=lane_of(parts, access),
    )


def lane_of(parts: GateParts, access: Access) -> Lane:
    """Return the lane at a gate.

    Args:
        parts: Of the gate.
        access: Who may ask.
    """
    return Lane(
        access,
        parts.decider,
        parts.rules,
        parts.revoked,
        trusted=parts.place.trusted,
        stages=parts.stages,
        usage=usage_of(parts.decider.app),
    )
