"""Builds the parts of gateway and plugin from the settings. No other place builds them.

Imports: everything below; never `app`, `airflow` or `cli`.
"""
