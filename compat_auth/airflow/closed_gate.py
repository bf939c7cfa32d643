"""What stands in Airflow's way when we cannot do what the configuration asks for: the API server does not start.

Airflow goes on without a plugin that fails, and uvicorn without an application whose start raises. Then whoever the
configuration keeps out would be let in, so we say no as the protocol of the start (ASGI, lifespan) has it.
"""

from __future__ import annotations

from typing import Any

_BODY = b'{"status":503,"title":"Configuration error","detail":"compat_auth cannot start; its reason is in the log"}'


class ClosedMiddleware:
    """An ASGI application that refuses to start, and to answer where nobody has asked it to start.

    Args:
        reason: For the log.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one ASGI connection."""
        message = await receive()
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.failed", "message": f"compat_auth: {self._reason}"})
        elif scope["type"] == "http":
            headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(_BODY))]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": _BODY})
        elif message["type"] == "websocket.connect":
            await send({"type": "websocket.close", "code": 1011})
