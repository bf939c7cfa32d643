"""The reverse proxy to the upstream, and the connection that it sends a request on.

Imports: what `gateway` may import, and its modules but `middleware`.
"""
