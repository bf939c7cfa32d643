"""Personal tokens: made, verified, limited, revoked, their use recorded, their owners warned.

Imports: `authn`, `store`, `http`, the vocabulary and the tools; never `tokens`, `gateway`, `web` or `api`.
"""
