"""Stops the start of Airflow's API server when our configuration is wrong.

Airflow ignores a plugin that fails, and uvicorn ignores an application whose start raises. Airflow would then serve
requests without our checks, so we fail the start by the protocol for it (ASGI, lifespan).
"""

from __future__ import annotations

from typing import Any

_BODY = b'{"status":503,"title":"Configuration error","detail":"compat_auth cannot start; its reason is in the log"}'


class ClosedMiddleware:
    """An ASGI application that fails its start; without a lifespan start it answers every request with 503.

    Args:
        reason: For the log.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one ASGI connection."""
        message = await receive()
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.failed", "message": f"compat_auth: {self._reason}"})
        elif scope["type"] == "http":
            headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(_BODY))]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": _BODY})
        elif message["type"] == "websocket.connect":
            await send({"type": "websocket.close", "code": 1011})
