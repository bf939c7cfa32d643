"""Reloads of the configuration of `compat-auth serve`, and sockets that a service manager passes to it.

Imports: `errors` alone.
"""
