"""The commands about users: password files, role accounts, pinned subjects, departures.

Imports: what `cli` may import.
"""
