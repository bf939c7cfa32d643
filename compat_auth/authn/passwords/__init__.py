"""Passwords: hashes in every format of Airflow and Apache, verified in a pool of threads; changes of the htpasswd file.

Imports: what `authn` may import.
"""
