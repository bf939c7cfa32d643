"""Airflow's auth managers: what all have in common, and those that sign for no name.

Imports: `tokens` and below.
"""
