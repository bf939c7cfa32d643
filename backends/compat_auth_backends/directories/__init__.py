"""Directories of users: files, LDAP, PAM, Kerberos passwords, Airflow's database, the upstream.

A new directory is a module here with a class as `compat_auth.directory` describes it, an entry point
`compat_auth.directories` in setup.cfg, and its settings in `compat_auth.config.directories`, with a field in `config.settings`
and an export in `config`. `airflow_db` is the example for SQL. `auth_manager` alone is elsewhere, in `compat_auth.airflow`.

Imports: the public names of docs/reference/python.md.
"""
