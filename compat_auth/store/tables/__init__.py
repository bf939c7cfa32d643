"""One module for each table of the store: reads and writes its rows, without any rules.

Imports: what `store` may import.
"""
