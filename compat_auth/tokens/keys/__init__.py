"""Keys: our own signing keys in their file, and the JWK sets of others.

Imports: `tokens.jose`, the vocabulary and the tools.
"""
