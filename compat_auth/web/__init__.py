"""HTML pages: login, logout, sessions, tokens. A Flask blueprint.

Imports: `personal_tokens`, `tokens`, `authn`, `sessions`, `guard`, `http` and every layer below; never `gateway` or `api`.
"""
