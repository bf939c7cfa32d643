"""Stages of the way off a login: which rule applies to a use, and what it says.

`rules` and `choice` are pure, `memory` keeps the rules of the store, `enforcement` says yes, with headers, or no.

Imports: `store`, `http`, the vocabulary and the tools.
"""
