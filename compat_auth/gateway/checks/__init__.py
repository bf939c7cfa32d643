"""Checks of credentials that the event loop waits for, because they are short.

Imports: what `gateway` may import.
"""
