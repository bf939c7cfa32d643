"""`compat-auth doctor`: asks every peer of the configuration now, and says of each what, where and the next step.

Imports: what `cli` may import.
"""
