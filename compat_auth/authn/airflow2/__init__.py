"""The host of unmodified auth backends of Airflow 2: imports them, and runs them as a backend of ours.

Imports: what `authn` may import.
"""
