"""Airflow's auth managers: what all have in common, and those that sign for no name.

Imports: `tokens`, `directory` and all below.
"""
