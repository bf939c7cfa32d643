"""`compat-auth stages`: lists and changes the stages of logins.

Imports: everything that `cli` may import.
"""
