"""Reads and writes rows: a module for each group of tables that belong together. The tables are in `store.schema`.

Imports: what `store` may import.
"""
