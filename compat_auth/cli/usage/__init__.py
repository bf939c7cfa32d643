"""`compat-auth report`: who still uses what, in the terminal, as Markdown, CSV or JSON.

Imports: everything that `cli` may import.
"""
