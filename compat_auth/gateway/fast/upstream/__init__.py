"""The fast paths' connections to the upstream: one request at a time, its answer passed on while it arrives.

`answer_reader` and `answer_head` decide what an answer is and where it ends, without I/O; `connection` sends and receives,
`pool` keeps connections.

Imports: what `gateway` may import, and its modules.
"""
