"""The OpenAPI document of our own endpoints, and Swagger UI to read it and try it out."""

from __future__ import annotations

import json

from compat_auth.api.openapi import describe
from compat_auth.api.swagger_ui import NOT_KEPT, swagger_files, swagger_ui
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.http.asgi import Receive, Send, respond
from compat_auth.http.request import GateRequest


def docs_pages() -> dict[str, Page]:
    """Return the pages by path below the prefix."""
    return {
        "openapi.json": _show_document,
        "docs": swagger_ui("API of the gateway", "openapi.json"),
        **swagger_files(),
    }


async def _show_document(gate: Gate, request: GateRequest, _receive: Receive, send: Send) -> None:
    document = describe(gate.rules.prefix.decode("ascii"), gate.paths, root=request.root)
    await respond(send, 200, json.dumps(document).encode(), content_type=b"application/json", headers=NOT_KEPT)
