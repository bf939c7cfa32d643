"""The fast protocol: common requests are answered in the server's protocol, without an ASGI application.

A request whose decision is in memory is answered or forwarded here; every other request goes to the ASGI application
unchanged, and so does a request whose answer from the upstream is unusual. `fast_protocol` reads requests, `fast_paths`
decides what happens, `upstream` talks to the upstream.

Imports: what `gateway` may import, and its modules.
"""
