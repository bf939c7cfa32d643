"""HTML pages: login, logout, sessions, tokens. A Flask blueprint.

Imports: `personal_tokens`, `tokens`, `usage` and every layer below; never `gateway` or `api`.
"""
