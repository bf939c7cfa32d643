"""Redis: the connection, and the channel (`pubsub`) by which replicas tell each other what was revoked.

Imports: the vocabulary, `config` and the tools.
"""
