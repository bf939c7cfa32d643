"""What `check` and `explain` find out, each finding with what, where and the next step.

Imports: what `cli` may import.
"""
