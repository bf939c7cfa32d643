"""Facts about Airflow's REST API: which paths are public, and which objects a request can reach.

`permission` says whether a personal token's scopes cover a request; `gateway.authorization` asks it.

Imports: `http`, the vocabulary and the tools.
"""
