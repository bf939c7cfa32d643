"""What the memory of grants is made of: grants by owner and credential, and the credentials that nobody can claim.

Imports: `compat_auth.backend` and what `authn` may import.
"""
