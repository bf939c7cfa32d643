"""HTTP as bytes: headers, paths, challenges, problem details, forwarded addresses. No Flask, no I/O.

Imports: the vocabulary, `config` and the tools.
"""
