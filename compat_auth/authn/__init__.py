"""From a credential to an identity: the chain of backends, their registry, the session cookie, revocation events.

Imports: `store`, `http`, the vocabulary and the tools; never `tokens`, `gateway`, `web` or `api`.
"""
