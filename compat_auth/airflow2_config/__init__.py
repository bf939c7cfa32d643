"""What the configuration of an Airflow 1.10 to 2.11 says. Light: every process of Airflow 3 reads it.

Imports: the standard library only.
"""
