"""Our own backends, built on the public face of `compat_auth` alone, as a third party's are.

Imports: the public names of docs/reference/python.md.
"""
