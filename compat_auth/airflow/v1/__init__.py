"""Airflow 2's `/api/v1`, answered from the `/api/v2` of Airflow 3."""
