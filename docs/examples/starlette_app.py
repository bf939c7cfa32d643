from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from compat_auth.asgi import CompatAuth, current_identity, requires_authentication


@requires_authentication
async def reports(_request: Request) -> PlainTextResponse:
    return PlainTextResponse(current_identity.username)


app = Starlette(routes=[Route("/reports", reports)])
settings = {
    "auth_backends": ["basic_auth"],
    "basic_auth": {"directories": ["htpasswd"], "realm": "Reports"},
    "htpasswd": {"file": "users.htpasswd"},
}
CompatAuth(app, settings)
