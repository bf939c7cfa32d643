"""The questions of `doctor` to other machines: databases, Redis, KDC, directories, providers, the upstream, clocks.

Imports: what `cli` may import.
"""
