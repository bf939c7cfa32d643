"""The least that an ASGI framework can answer."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def answer(_: Request) -> Response:
    return Response()


app = Starlette(routes=[Route("/", answer)])
