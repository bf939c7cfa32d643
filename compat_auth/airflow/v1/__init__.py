"""Airflow 2's REST API, translated to calls of `/api/v2` and back. Sans I/O: one module makes the calls.

Imports: `http`, `crypto`, `net`, `audit`, `airflow_api`, `gateway` and the vocabulary.
"""
