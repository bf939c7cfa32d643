"""The configuration of Airflow 1.10 to 2.11. Small, because every process of Airflow 3 imports it.

Imports: the standard library only.
"""
