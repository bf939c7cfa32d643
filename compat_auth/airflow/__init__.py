"""The Airflow 3 plugin: our middleware inside Airflow's own API server.

`v1` translates Airflow 2's `/api/v1`, for the gateway, too.

Imports: `composition`, `tasks` and below; never `app`.
"""
