"""Tasks of Airflow 3 as callers.

Imports: public modules of `compat_auth` only.
"""
