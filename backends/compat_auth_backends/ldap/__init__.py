"""LDAP for the directory: connections, binds, settings, and the probe of `compat-auth check`.

A new option is a field of `LdapSettings` in `compat_auth.config.directories`, and its check in `settings` here.

Imports: the public names of docs/reference/python.md.
"""
