"""The Airflow 3 plugin: the gate inside Airflow's own API server.

Imports: `composition` and all below; never `app`.
"""
