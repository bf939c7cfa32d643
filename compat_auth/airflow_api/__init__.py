"""Facts about Airflow's REST API: which paths are public, and which objects a request can reach.

Imports: `http`, the vocabulary and the tools.
"""
