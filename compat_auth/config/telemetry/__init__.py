"""Settings of what an operator sees: metrics, log, audit log and traces.

Imports: `config.fields`.
"""
