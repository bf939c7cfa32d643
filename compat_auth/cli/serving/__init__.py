"""The configuration of `compat-auth serve`, at the start and after a reload, and its listeners.

Imports: `diagnosis`, `front`, and what `cli` may import.
"""
