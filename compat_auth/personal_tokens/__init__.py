"""Personal tokens: create, verify, throttle and revoke them, record their use, warn their owners before they expire.

`permissions` says who may manage tokens. The scopes of a token are enforced in `gateway.authorization`.

Imports: `authn`, `store`, `http`, the vocabulary and the tools; never `tokens`, `gateway`, `web` or `api`.
"""
