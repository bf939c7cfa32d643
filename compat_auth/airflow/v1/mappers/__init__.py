"""One object of Airflow 3, written as Airflow 2 wrote it.

Imports: nothing of ours above `airflow.v1`'s vocabulary.
"""
