"""`compat-auth stages`: lists and changes the stages of logins.

Imports: what `cli` may import.
"""
