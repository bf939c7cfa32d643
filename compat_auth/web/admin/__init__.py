"""Pages for administrators: the tokens of all users, and the role accounts.

Imports: what `web` may import.
"""
