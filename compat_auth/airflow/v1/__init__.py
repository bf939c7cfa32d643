"""Translates Airflow 2's REST API to calls of `/api/v2` and back. Sans I/O: only `upstream_calls` makes the calls.

Imports: `http`, `crypto`, `net`, `audit`, `airflow_api`, `gateway` and the vocabulary.
"""
