"""Checks of credentials that are under way; for those that are short the event loop waits.

Imports: what `gateway` may import.
"""
