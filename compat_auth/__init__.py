"""Old clients keep the login they have; the new API gets the JWT it wants.

The journey of a request, and the room of each step:

1. `http` checks the bytes, `credentials` parses `Authorization`: Basic, Bearer, Negotiate.
2. `authn` asks the chain of backends (`backends/compat_auth_backends`, found by entry points) and looks up the user.
3. `identity` is the result: user, roles, scopes. `personal_tokens` are credentials of our own.
4. `tokens` gets the JWT that the upstream accepts: signed in `tokens.jose.jwt`, or obtained from the upstream.
5. `gateway` asks `gateway.authorization` for scopes and forwards the request, as a proxy or as forward-auth; `airflow` does
   it inside Airflow's API server.

`store` keeps what outlives a process. `web`, `api` and `browsers` are pages of our own, `cli` and `client` are programs.
`composition` builds all of it from `config`. A flat module is public; a package is private, but for `config` and `client`.

The layers, top to bottom, are in setup.cfg. "The vocabulary" is the layer of `config`, `identity`, `scopes`, `credentials`,
`outcome` and the like; "the tools" are `net`, `crypto` and `concurrency`; "and below" means every layer
below the highest that is named.
"""

__version__ = "0.1.0"
