"""From a credential to an identity: the chain of backends, their registry, the session cookie, revocation events.

`chain` asks the backends, `users` looks up users, `passwords` checks hashes. `revocation_events` announces revocations
to this process and, through `store.redis`, to every other replica; without Redis each replica reads the table of
`tokens.denylist` every second.

Imports: `backend`, `guard` and below; never `tokens`, `gateway`, `web` or `api`.
"""
