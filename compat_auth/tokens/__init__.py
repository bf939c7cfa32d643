"""From an identity to the JWT that the upstream wants, and back: claims, strategies, issued tokens, the denylist.

`strategies` chooses whose JWT it is; `jose.jwt` signs and verifies; `keys` holds the signing keys; `denylist` knows what
was revoked.

Imports: `authn`, `backend` and below; never `personal_tokens`, `gateway`, `web` or `api`.
"""
