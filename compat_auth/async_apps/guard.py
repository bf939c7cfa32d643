"""A view of an asynchronous app behind the chain: called only after the decision."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from functools import wraps
from types import MappingProxyType
from typing import Any

import flask

from compat_auth.async_apps.frameworks import routed_by
from compat_auth.async_apps.middleware import Site, current_visit
from compat_auth.async_apps.visit import Visit
from compat_auth.errors import CompatAuthError, ConfigError, InsufficientScope
from compat_auth.guard import View
from compat_auth.http.asgi import Scope
from compat_auth.outcome import Accept
from compat_auth.requirements import Requirements
from compat_auth.scopes import ALL


def guard_async_view(view: View, requirements: Requirements) -> View:
    """Return the view so wrapped that it runs only for an accepted credential; one that is not async runs on a thread.

    A WebSocket is refused: once it is open, nothing that its credential is limited to holds for what it carries.
    """
    is_async = inspect.iscoroutinefunction(view) or inspect.isasyncgenfunction(view)

    @wraps(view)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        site, visit = current_visit()
        refusal = await refusal_of(site, visit, requirements, args, kwargs)
        if refusal is not None and visit.scope["type"] == "websocket":
            return None
        if refusal is not None:
            return site.answer_refusal(refusal)
        result = view(*args, **kwargs) if is_async else await asyncio.to_thread(view, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return guarded


async def refusal_of(
    site: Site,
    visit: Visit,
    requirements: Requirements,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] = MappingProxyType({}),
) -> flask.Response | None:
    """Return the answer to the caller in place of the view; None: the identity is signed in.

    A WebSocket is refused.
    """
    if visit.scope["type"] == "websocket":
        await visit.refuse_handshake()
        return flask.Response(status=403)
    scopes = [scope for scope in map(routed_by, (*args, *kwargs.values())) if scope is not None]
    is_rewritten = visit.is_rewritten(*scopes)

    def decide() -> Accept | flask.Response:
        admitted = site.admit(requirements)
        if is_rewritten and isinstance(admitted, Accept) and admitted.identity.scopes is not None:
            # What came and what is about to be done are two requests, and scopes were asked about one.
            raise InsufficientScope("the app has rewritten the request, and the credential is limited", ALL)
        return admitted

    try:
        admitted = await visit.run(decide, view_args=_view_args(kwargs, [visit.routed, *scopes]))
    except CompatAuthError as error:
        if isinstance(error, ConfigError):
            raise
        wording = site.style.render_error(error)
        return flask.Response(
            wording.body, wording.status, dict(wording.headers), content_type="application/problem+json"
        )
    if isinstance(admitted, flask.Response):
        return admitted
    visit.identity = admitted.identity
    visit.headers.extend(admitted.headers)
    return None


def _view_args(kwargs: Mapping[str, Any], scopes: list[Scope]) -> dict[str, object]:
    found: dict[str, object] = dict(kwargs)
    for scope in scopes:
        found.update(scope.get("path_params") or {})
    return found
