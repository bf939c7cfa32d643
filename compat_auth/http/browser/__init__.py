"""What a browser does with a request: origins, CSRF, preflights, redirects. No Flask, no I/O.

Imports: `http` and what it may import.
"""
