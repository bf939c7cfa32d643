"""The OpenAPI document of our own endpoints, and Swagger UI to read it and try it out."""

from __future__ import annotations

import json

from compat_auth.api.openapi import describe
from compat_auth.api.swagger_ui import NOT_KEPT, Site, swagger_files, swagger_ui
from compat_auth.gateway.middleware import Page
from compat_auth.http.asgi import Receive, Send, respond
from compat_auth.http.request import GateRequest


def docs_pages(site: Site) -> dict[str, Page]:
    """Return the pages by path below the prefix.

    Args:
        site: What the document describes.
    """

    async def show_document(request: GateRequest, _receive: Receive, send: Send) -> None:
        document = describe(site.prefix, site.paths, root=request.root)
        await respond(send, 200, json.dumps(document).encode(), content_type=b"application/json", headers=NOT_KEPT)

    return {
        "openapi.json": show_document,
        "docs": swagger_ui("API of the gateway", "openapi.json", site),
        **swagger_files(),
    }
