"""The Airflow 3 plugin: our middleware inside Airflow's own API server.

Imports: `composition` and all below; never `app`.
"""
