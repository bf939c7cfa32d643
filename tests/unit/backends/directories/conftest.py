"""Airflow's users in a database of the test's own."""

from support.airflow_tables import database, make

__all__ = ["database", "make"]
