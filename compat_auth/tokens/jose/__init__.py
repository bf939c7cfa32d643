"""JWT and JWK as RFC 7515, 7517 and 7519 define them. No I/O.

`jwt` is the one module that signs and verifies; `signed_text` says only who has signed a text.

Imports: the vocabulary and the tools.
"""
