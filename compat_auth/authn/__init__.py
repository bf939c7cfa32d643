"""From a credential to an identity: the chain of backends, their registry, the session cookie, revocation events.

`chain` asks the backends, `users` looks up users, `passwords` checks hashes. `revocation_events` announces revocations
to this process and, where `redis_url` is set, through `store.redis` to every other replica. Without Redis a replica
remembers a revocable grant for a second at most, and `tokens.denylist` reads the store again when it is older than that.

A session's cookie: `session_cookie` decrypts it and checks its age, `session_registry` whether it was revoked; the backend `session` decides.

Imports: `backend`, `guard` and below; never `tokens`, `gateway`, `web` or `api`.
"""
