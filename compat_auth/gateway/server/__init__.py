"""The processes of `compat-auth serve`: the supervisor, its workers, and their states.

Imports: `gateway.connections`, `http`, `client_certificates`, `config`, `telemetry` and the tools.
"""
