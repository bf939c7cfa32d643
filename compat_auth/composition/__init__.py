"""Joins the parts: from settings to what gateway and plugin are made of. The one place that builds them.

Imports: everything below; never `app`, `airflow` or `cli`.
"""
