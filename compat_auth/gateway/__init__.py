"""The ASGI gateway: decides about each request and forwards it; forward-auth for other proxies.

Imports: `tokens`, `personal_tokens`, `authn`, `airflow_api`, `http` and below; never `web` or `api`.
"""
