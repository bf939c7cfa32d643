"""Requests of browsers: origins, CSRF, CORS preflights, redirects. No Flask, no I/O.

Imports: what `http` may import.
"""
