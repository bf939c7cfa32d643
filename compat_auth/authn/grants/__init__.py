"""Parts of the memory of grants: grants by owner and credential, and the credentials that no backend can claim.

Imports: `compat_auth.backend` and what `authn` may import.
"""
