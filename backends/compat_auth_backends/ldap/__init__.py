"""LDAP for the directory: connections, binds, settings, and the probe of `compat-auth check`.

Imports: the public names of docs/reference/python.md.
"""
