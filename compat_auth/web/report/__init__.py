"""The page of the report: who may read it, its charts and its downloads.

Imports: everything that `web` may import, and its modules.
"""
