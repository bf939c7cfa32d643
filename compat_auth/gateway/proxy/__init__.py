"""The reverse proxy to the upstream, and its connections.

Imports: what `gateway` may import, and its modules except `middleware`.
"""
