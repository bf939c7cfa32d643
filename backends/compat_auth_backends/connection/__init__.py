"""Callers known by the connection: by a name that a front proxy sends, or by a client's certificate.

Imports: public modules of `compat_auth`, and `cryptography`.
"""
