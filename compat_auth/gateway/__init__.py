"""The ASGI gateway: decides about each request and forwards it; forward-auth for other proxies.

A request passes `middleware`, `identification` (who it is, by `decider` and the chain), `authorization` (whether scopes
and requirements allow it) and `forwarding`. `connections` holds what reads and writes sockets, `server` the processes.

Imports: `tokens`, `personal_tokens`, `usage`, `authn`, `airflow_api`, `http` and below; never `web` or `api`.
"""
