"""One module for each table of the store: its rows, read and written. No rules about them.

Imports: `store` and what it may import.
"""
