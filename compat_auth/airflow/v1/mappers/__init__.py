"""Converts objects of Airflow 3 to the format of Airflow 2.

Imports: the terms of `airflow.v1`, and `crypto`.
"""
