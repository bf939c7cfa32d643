"""The bundled backends, built on the public modules of `compat_auth` alone, as a third party's are.

A new backend is a module here, and an entry point `compat_auth.backends` in setup.cfg; a new directory goes to `directories`.

Imports: the public names of docs/reference/python.md.
"""
