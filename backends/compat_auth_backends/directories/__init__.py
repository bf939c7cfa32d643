"""Directories of users: files, LDAP, PAM, Kerberos passwords, Airflow's database, the upstream.

Imports: the public names of docs/reference/python.md.
"""
