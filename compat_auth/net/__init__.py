"""Calls to other servers, each bounded in time: HTTP, documents that are cached, PostgreSQL, MySQL. No domain knowledge.

Imports: `compat_auth.errors`, `crypto` and `concurrency`.
"""
