"""From an identity to the JWT that the upstream wants, and back: claims, strategies, issued tokens, the denylist.

Imports: `authn`, `store`, `http`, the vocabulary and the tools; never `personal_tokens`, `gateway`, `web` or `api`.
"""
