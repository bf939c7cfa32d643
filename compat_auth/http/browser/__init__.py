"""Requests of browsers: origins, CSRF, CORS preflights, redirects. No Flask, no I/O.

Imports: `http` and what it may import.
"""
