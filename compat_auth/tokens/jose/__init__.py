"""JWT and JWK as RFC 7515, 7517 and 7519 define them: signed, parsed, verified. No I/O.

Imports: the vocabulary and the tools.
"""
