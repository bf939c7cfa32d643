"""Passwords: hashes in every format that Airflow and Apache wrote, checked in a pool of threads; the htpasswd file.

Imports: what `authn` may import.
"""
