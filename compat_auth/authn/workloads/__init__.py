"""Workloads: rules over the claims of a token, what known platforms say in them, and which rules are too wide. No I/O.

Imports: `config`, `scopes`, `crypto` and `compat_auth.errors`.
"""
