"""OAuth endpoints: token (RFC 6749, 8693), introspection (7662), revocation (7009), metadata (8414, 9728).

Imports: what `api` may import.
"""
