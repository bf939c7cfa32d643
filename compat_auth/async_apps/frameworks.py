"""The asynchronous frameworks: which one an app is of, how a middleware gets in, and what its responses look like.

They are known by their own base classes, so that none of them has to be installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

from compat_auth.async_apps.middleware import Middleware, Site, current_visit
from compat_auth.errors import ConfigError
from compat_auth.http.asgi import Scope

Framework = Literal["quart", "starlette"]
_BASES: dict[tuple[str, str], Framework] = {
    ("quart.app", "Quart"): "quart",
    # FastAPI's class is derived from it.
    ("starlette.applications", "Starlette"): "starlette",
}


def framework_of(app: object) -> Framework:
    """Return the framework of an app.

    Raises:
        ConfigError: It is of none that is known here.
    """
    for base in type(app).__mro__:
        found = _BASES.get((base.__module__, base.__name__))
        if found is not None:
            return found
    is_flask = any((base.__module__, base.__name__) == ("flask.app", "Flask") for base in type(app).__mro__)
    advice = (
        "for Flask, under an ASGI server too, import CompatAuth from compat_auth.extension"
        if is_flask
        else "only Quart, Starlette and FastAPI apps can be guarded here; put the gateway in front of any other"
    )
    raise ConfigError(f"CompatAuth: {type(app).__module__}.{type(app).__qualname__}: {advice}")


def install(app: Any, framework: Framework, site: Callable[[], Site], errors: Sequence[type[Exception]]) -> None:
    """Put the middleware around an app, and have errors of these classes in its views answered as refusals.

    A handler that the app has for such a class stays.

    Raises:
        ConfigError: The app has answered already.
    """
    if framework == "quart":
        app.asgi_app = Middleware(app.asgi_app, site)
        for error in errors:
            if error not in app.error_handler_spec[None][None]:
                app.register_error_handler(error, _refuse)
        return
    try:
        app.add_middleware(Middleware, site=site)
        for error in errors:
            app.exception_handlers.setdefault(error, _refuse_request)
    except RuntimeError as exc:
        raise ConfigError(
            "CompatAuth: the app has started already; call CompatAuth(app) before its first request"
        ) from exc


async def _refuse_request(_request: object, error: Exception) -> object:
    return await _refuse(error)


async def _refuse(error: Exception) -> object:
    site, visit = current_visit()
    if visit.scope["type"] == "websocket":
        # Its server answers the handshake with an error, or closes it.
        raise error
    return site.answer_refusal(await visit.run(lambda: site.refuse(error)))


def answer_of(framework: Framework) -> Callable[[int, list[tuple[str, str]], bytes], object]:
    """Return the function that makes a framework's response of a status, headers and a body."""
    if framework == "quart":
        make = importlib.import_module("quart").Response

        def answer(status: int, headers: list[tuple[str, str]], body: bytes) -> object:
            response = make(body, status=status)
            response.headers.pop("Content-Type", None)
            for name, value in headers:
                response.headers.add(name, value)
            return cast("object", response)
    else:
        make = importlib.import_module("starlette.responses").Response

        def answer(status: int, headers: list[tuple[str, str]], body: bytes) -> object:
            response = make(body, status)
            for name, value in headers:
                response.headers.append(name, value)
            return cast("object", response)

    return answer


def routed_by(framework_request: object) -> Scope | None:
    """Return the scope of a framework's request or connection; None where this is none."""
    scope = getattr(framework_request, "scope", None)
    return cast("Scope", scope) if isinstance(scope, dict) and "type" in scope else None
