"""The bundled backends, which use only the public modules of `compat_auth`, like those of a third party.

A new backend is a module here, and an entry point `compat_auth.backends` in setup.cfg; a new directory goes to `directories`.

Imports: the public names of docs/reference/python.md.
"""
