"""Lists on the pages: search, order and page links without a script, and short names of networks and clients.

Imports: `personal_tokens`, `store`, `http`, the vocabulary and the tools.
"""
