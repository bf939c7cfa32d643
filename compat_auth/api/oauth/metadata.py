"""OAuth metadata: of the authorization server (RFC 8414) and of the API (RFC 9728)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compat_auth.api.oauth.client_grants import CLIENT_CREDENTIALS, JWT_BEARER
from compat_auth.api.oauth.token_request import EXCHANGE_GRANT
from compat_auth.config import Settings
from compat_auth.errors import BadRequest
from compat_auth.gateway.middleware import Page
from compat_auth.http.asgi import RawHeaders, Receive, Send, respond
from compat_auth.http.request import GateRequest
from compat_auth.scopes import ALL
from compat_auth.tokens.keys.jwks_cache import ISSUER_ALGORITHMS

SERVER_METADATA = "/.well-known/oauth-authorization-server"
RESOURCE_METADATA = "/.well-known/oauth-protected-resource"
_JSON = b"application/json"
NO_STORE: RawHeaders = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
"""Headers of answers that no cache may keep."""


@dataclass(frozen=True, slots=True)
class MetadataPages:
    """The pages.

    Attributes:
        base_url: Our URL for callers, without a slash at the end; "" means the host of the request.
        prefix: The prefix of our own pages, with both slashes.
        publishes_keys: Whether we publish keys to verify our tokens with.
    """

    base_url: str
    prefix: str
    publishes_keys: bool

    @classmethod
    def from_settings(cls, settings: Settings) -> MetadataPages:
        """Return the pages for the configuration."""
        return cls(
            settings.token_endpoint.public_url.rstrip("/"), settings.prefix, settings.token.strategy == "key_pair"
        )

    def pages(self) -> dict[str, Page]:
        """Return the pages by path, from the root."""
        return {SERVER_METADATA: self.server_metadata, RESOURCE_METADATA: self.resource_metadata}

    def metadata_url(self, request: GateRequest) -> str:
        """Return the URL of `resource_metadata`; "" for a front proxy that only asks: its callers are not ours."""
        if not self.base_url and request.path.startswith(f"{self.prefix}forward-auth/".encode("ascii")):
            return ""
        if not self.base_url and not request.intake.host:
            return ""
        return f"{self._base(request)}{RESOURCE_METADATA}"

    async def server_metadata(self, request: GateRequest, _receive: Receive, send: Send) -> None:
        """Describe us as an authorization server (RFC 8414)."""
        base = self._base(request)
        content: dict[str, Any] = {
            "issuer": base,
            "token_endpoint": f"{base}/auth/token",
            "token_endpoint_auth_methods_supported": [
                "none",
                "client_secret_basic",
                "client_secret_post",
                "private_key_jwt",
            ],
            "token_endpoint_auth_signing_alg_values_supported": list(ISSUER_ALGORITHMS),
            "grant_types_supported": [EXCHANGE_GRANT, CLIENT_CREDENTIALS, JWT_BEARER],
            "response_types_supported": [],
            "scopes_supported": [ALL],
            "revocation_endpoint": f"{base}{self.prefix}revoke",
            "revocation_endpoint_auth_methods_supported": ["none"],
            "introspection_endpoint": f"{base}{self.prefix}introspect",
            # RFC 8414 2: the name of a kind of access token is a method, too.
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "Bearer"],
        }
        if self.publishes_keys:
            content["jwks_uri"] = f"{base}/.well-known/jwks.json"
        await send_json(send, 200, content)

    async def resource_metadata(self, request: GateRequest, _receive: Receive, send: Send) -> None:
        """Describe the API behind us to clients that look for its authorization server (RFC 9728)."""
        base = self._base(request)
        content = {
            "resource": base,
            "authorization_servers": [base],
            "bearer_methods_supported": ["header"],
            "scopes_supported": [ALL],
        }
        await send_json(send, 200, content)

    def _base(self, request: GateRequest) -> str:
        if not self.base_url and not request.intake.host:
            raise BadRequest("Host: missing; send one, or ask the operator to set [token_endpoint] public_url")
        origin = self.base_url or f"{request.scheme}://{request.intake.host.decode('ascii')}"
        return origin + request.root


async def send_json(
    send: Send, status: int, content: Mapping[str, Any], headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """Answer with a JSON object that no cache may keep."""
    await respond(send, status, json.dumps(content).encode(), content_type=_JSON, headers=[*NO_STORE, *headers])
