"""Converts objects of Airflow 3 to the format of Airflow 2.

Imports: nothing of ours above `airflow.v1`'s vocabulary.
"""
