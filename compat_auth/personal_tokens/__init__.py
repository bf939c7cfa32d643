"""Personal tokens: create, verify, throttle and revoke them, record their use, warn their owners before they expire.

Imports: `authn`, `store`, `http`, the vocabulary and the tools; never `tokens`, `gateway`, `web` or `api`.
"""
