"""Redis: the connection, and the channel (`pubsub`) by which replicas tell each other what was revoked.

Redis is optional: without it, another replica reads revocations from the SQL tables, at most a second later.

Imports: the vocabulary, `config` and the tools.
"""
