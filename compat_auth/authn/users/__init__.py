"""Users: the installed directories, the look-up of names in them, and the links between subjects and users.

The directories themselves are in `compat_auth_backends.directories`; their protocols are in `compat_auth.directory`.

Imports: what `authn` may import.
"""
