"""Redis: the connection, and the channel on which replicas tell each other what changed.

Imports: the vocabulary, `config` and the tools.
"""
