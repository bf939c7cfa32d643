"""From a credential to an identity: the chain of backends, their registry, the session cookie, revocation events.

`chain` asks the backends, `users` looks up who somebody is, `passwords` checks hashes. `revocation_events` tells this
process and, through `store.redis`, every other replica what was revoked.

Imports: `store`, `http`, the vocabulary and the tools; never `tokens`, `gateway`, `web` or `api`.
"""
