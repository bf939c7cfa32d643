"""Converts objects of Airflow 3 to the format of Airflow 2.

Imports: none of our modules above `airflow.v1`'s vocabulary.
"""
