"""HTTP as bytes: headers, paths, challenges, problem details, forwarded addresses. No Flask, no I/O.

The grammar of `Authorization` (Basic, Bearer, Negotiate) is in `compat_auth.credentials`.

Imports: the vocabulary, `config` and the tools.
"""
