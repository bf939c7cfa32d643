"""The composition root: joins the parts to an ASGI application."""

from __future__ import annotations

import asyncio

from compat_auth.airflow.v1.translation import V1Translation
from compat_auth.airflow.v1.translation import public_pages as v1_public_pages
from compat_auth.api.oauth.metadata import MetadataPages
from compat_auth.api.swagger_ui import Site
from compat_auth.browsers.visits import BrowserVisits
from compat_auth.composition.decider import build_core, new_flask_app
from compat_auth.composition.fast import FastParts
from compat_auth.composition.gate import GateParts, Place, forward_auth_of
from compat_auth.composition.pages import own_pages
from compat_auth.composition.rules import gate_rules, translates_v1
from compat_auth.composition.tasks import add_task_source
from compat_auth.composition.telemetry import Metrics, set_up_logs
from compat_auth.composition.tokens import build_issuer, build_logout, build_reader
from compat_auth.config import Settings, load_settings
from compat_auth.gateway.authorization import Authorization
from compat_auth.gateway.fast.fast_paths import FastPaths
from compat_auth.gateway.forward_auth.access import Access, access_of, port_of
from compat_auth.gateway.forward_auth.lane import LANE_PAGE
from compat_auth.gateway.forward_auth.pages import FORWARD_AUTH_PAGES, not_here, nothing_else
from compat_auth.gateway.forward_auth.tokens import ForwardAuthTokens
from compat_auth.gateway.health import JWKS_PATH, jwks_page, live, ready_page
from compat_auth.gateway.middleware import Page
from compat_auth.gateway.proxy.reverse_proxy import ReverseProxy
from compat_auth.http.asgi import ASGIApp, Receive, Scope, Send
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.root_path import RootPath
from compat_auth.store.readiness import StoreReadiness
from compat_auth.tokens.bound import BoundTokens
from compat_auth.tokens.revoked import RevokedTokens
from compat_auth.tokens.strategies import build_strategy, public_keys
from compat_auth.web.appearance.error_page import ErrorPages
from compat_auth.web.site import page_paths

__all__ = ["create_app"]


class Gateway:
    """The gate in front of a reverse proxy: `compat-auth serve`.

    Args:
        settings: What to build.
        lane_secret: What our own front proxy sends with its questions about credentials; "": there is none.

    Raises:
        ConfigError: The settings do not fit together; says what to change.
    """

    def __init__(self, settings: Settings, *, lane_secret: str = "") -> None:
        set_up_logs(settings)
        trusted = TrustedProxies(settings.trusted_proxies)
        self._proxy = ReverseProxy(settings.upstream, trusted)
        strategy = build_strategy(settings)
        self._core = core = build_core(
            settings,
            new_flask_app(),
            strategy,
            read=build_reader(settings),
            logout=build_logout(settings, strategy),
        )
        add_task_source(settings, core.decider.app, build_issuer(settings, strategy))
        metadata = MetadataPages.from_settings(settings)
        access = access_of(settings)
        self._forward_auth_port = port_of(settings)
        forward_auth_tokens = ForwardAuthTokens(core.issued, core.decider, entries=settings.serve.cache_entries)
        translates, translation = (
            translates_v1(settings),
            V1Translation(self._proxy, says_deprecated=settings.upstream.api_v1_deprecation),
        )
        authorization = Authorization(gate_rules(settings))
        revoked = RevokedTokens(
            core.denylist,
            authorization.rules.upstream_cookie,
            BoundTokens(settings.client_certificate, settings.token.audience),
        )
        browsers = BrowserVisits.from_settings(settings, authorization.rules, core.decider, revoked)

        error_pages = ErrorPages.from_settings(settings, page_paths(core.decider.app))

        def parts_before(app: ASGIApp) -> GateParts:
            place = Place(
                app,
                authorization,
                trusted,
                upstream=self._proxy,
                root=RootPath.from_settings(settings),
                tells_origins=settings.upstream.profile != "generic",
            )
            return GateParts.build(
                place,
                core.decider,
                revoked,
                metadata_url=metadata.metadata_url,
                browsers=browsers,
                show_error=error_pages.show,
            )

        def forward_auth(parts: GateParts, access: Access | None = access) -> dict[str, Page]:
            return {} if access is None else forward_auth_of(parts, access, forward_auth_tokens.bearer_for).pages()

        def own_lane(parts: GateParts) -> dict[str, Page]:
            if not lane_secret:
                return {}
            own = Access(lane_secret.encode("ascii"))
            return {LANE_PAGE: own.hide(forward_auth(parts, own)[LANE_PAGE], not_here, trusted)}

        health: dict[str, Page] = {
            "live": live,
            "ready": ready_page(self._proxy.require_reachable, StoreReadiness(core.denylist.rows).require),
        }
        # Front proxies have a gate of their own, on a listener that no client reaches.
        front = parts_before(self._proxy)
        self._front_gate = front.gate({**health, **forward_auth(front), "/": nothing_else})
        parts = parts_before(translation if translates else self._proxy)
        pages: dict[str, Page] = {}
        site = Site(settings.prefix, pages)
        pages |= {
            **health,
            JWKS_PATH: jwks_page(public_keys(settings)),
            **(
                forward_auth(parts)
                if access is not None and access.secret
                else {**dict.fromkeys(FORWARD_AUTH_PAGES, not_here), **own_lane(parts)}
            ),
            **(v1_public_pages(parts.forwarding, site) if translates else {}),
            **own_pages(settings, parts, core.issued, metadata, site),
        }
        self._gate = gate = parts.gate(pages, max_judged_body=settings.airflow2_modules.max_body_bytes)
        fast = FastParts(parts, settings, access, forward_auth_tokens, self._forward_auth_port)
        self.fast_paths: FastPaths | None = fast.build(gate.paths)
        """Requests that the server may answer without this application; None: there are none."""
        self.metrics = Metrics.from_settings(settings, core, self._proxy.require_reachable, self.fast_paths)
        """The metrics of this process; None: they are off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await (self._front_gate if self._is_for_front_proxies(scope) else self._gate)(scope, receive, send)

    def _is_for_front_proxies(self, scope: Scope) -> bool:
        """Return whether the request came to the listener of forward-auth: the socket's own address decides, not a header."""
        server = scope.get("server")
        return self._forward_auth_port is not None and server is not None and server[1] == self._forward_auth_port

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._proxy.open()
                self._core.open()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self._core.decider.close()
                if self.fast_paths is not None:
                    self.fast_paths.close()
                await self._proxy.close()
                await asyncio.to_thread(self._core.flush)
                await send({"type": "lifespan.shutdown.complete"})
                return


def create_app(settings: Settings | None = None) -> Gateway:
    """Return the gateway as an ASGI application; without settings, from the file and the environment.

    Raises:
        ConfigError: The settings do not fit together.
    """
    return Gateway(settings or load_settings())
