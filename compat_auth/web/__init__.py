"""HTML pages: login, logout, sessions, tokens. A Flask blueprint.

Texts of a page are in `templates/compat_auth`, messages of the login in `login`; `sign_in` is the login by a provider or a ticket.

Imports: `personal_tokens`, `tokens`, `usage` and every layer below; never `gateway` or `api`.
"""
