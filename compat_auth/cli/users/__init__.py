"""The commands about users: password files, role accounts, account links, and the revocation of a user's credentials.

Imports: what `cli` may import.
"""
