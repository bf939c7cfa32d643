"""`doctor --probe`: sends headers and paths of attackers through a front proxy, and finds those that have an effect.

Imports: `errors`, `net`, `http`, and `result` of `doctor`.
"""
