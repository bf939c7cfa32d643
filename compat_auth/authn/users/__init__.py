"""Users: which directories are installed, who a name is in them, which subject is linked to which user.

The directories themselves are in `compat_auth_backends.directories`; their protocols are in `compat_auth.directory`.

Imports: what `authn` may import.
"""
