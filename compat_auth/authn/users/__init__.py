"""Users: which directories there are, who a name is in them, which subject is linked to which user.

Imports: what `authn` may import.
"""
