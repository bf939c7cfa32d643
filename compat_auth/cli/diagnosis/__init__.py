"""The checks of `check` and the replay of `explain`; each finding says what, where and the next step.

Imports: what `cli` may import.
"""
