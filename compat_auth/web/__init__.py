"""HTML pages: login, logout, sessions, tokens. A Flask blueprint.

Imports: `personal_tokens`, `authn`, `sessions`, `http` and below; never `gateway`.
"""
