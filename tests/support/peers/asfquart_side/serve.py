"""Serves an app of docs/examples on loopback: asfquart's in asfquart's own environment, ours in ours.

Usage: serve.py FILE PORT async|sync [CALLBACK], in the folder that the app is to find its files in.
CALLBACK is asked for who has logged in, in place of asfquart's identity provider; `%s` in it is the code.
"""

import asyncio
import importlib
import runpy
import sys
from typing import Any

# It lies beside this file, in another environment than the tests.
MORE: Any = importlib.import_module("more_views")


def raise_error(token: str) -> Any:
    """Do what a token handler with a fault does."""
    raise LookupError(token)


ODD: dict[str, Any] = {
    "odd-nameless": {"fullname": "Nobody"},
    "odd-list": ["uid", "ana"],
    "odd-empty": {},
    "odd-committees": {"uid": "ana", "committees": ["httpd"]},
    "odd-scopeless": {"uid": "ana", "metadata": {"scope": []}},
    "odd-scope": {"uid": "ana", "metadata": {"scope": "scopeA"}},
    "limited": {"uid": "ana", "metadata": {"scope": ["GET /show"]}},
    "a=b": {"uid": "ana"},
}


def main(file: str, port: str, handler: str, callback: str = "") -> None:
    """Serve until a signal comes."""
    hypercorn_config: Any = importlib.import_module("hypercorn.config")
    serve: Any = importlib.import_module("hypercorn.asyncio").serve
    site = runpy.run_path(file)
    app, known = site["APP"], site["SESSIONS"]
    known.update(MORE.MEMBERS)
    known.update(ODD)

    def find(token: str) -> Any:
        return raise_error(token) if token == "odd-raises" else known.get(token)

    async def find_later(token: str) -> Any:
        await asyncio.sleep(0)
        return find(token)

    app.token_handler = find if handler == "sync" else find_later
    MORE.add_views(app, site["auth"], site["session"])
    if callback:
        generics: Any = importlib.import_module("asfquart.generics")
        generics.OAUTH_URL_CALLBACK = callback
    config = hypercorn_config.Config()
    config.bind = [f"127.0.0.1:{port}"]
    asyncio.run(serve(app, config))


if __name__ == "__main__":
    main(*sys.argv[1:])
