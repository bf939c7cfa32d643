"""The processes of `compat-auth serve`: the supervisor, its workers, and their states.

Imports: `gateway.connections`, `http`, `config` and the tools.
"""
