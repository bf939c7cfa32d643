"""Applies the stages to requests at a gate, and tells the fast paths where nothing is staged.

Imports: what `gateway` may import.
"""
