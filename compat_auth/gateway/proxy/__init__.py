"""The reverse proxy to the upstream, and its connections.

Imports: everything that `gateway` may import, and its modules except `middleware`.
"""
