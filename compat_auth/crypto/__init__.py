"""Encryption, private files, trusted files, strict JSON, the format of a personal token: no domain knowledge.

Imports: `compat_auth.errors` only.
"""
