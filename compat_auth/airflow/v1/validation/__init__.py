"""Checks queries and bodies like Airflow 2.11, with its error texts.

Imports: the vocabulary and the tools.
"""
