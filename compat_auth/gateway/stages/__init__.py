"""Applies the stages to requests at a gate, and tells the fast paths where nothing is staged.

Imports: `stages`, `tokens`, `http` and what they may import; `gateway.decision`.
"""
