"""Request ids, durations, and the listener of the metrics: for the operator.

Imports: `telemetry`, `gateway.decision`, `http`, `config` and the tools.
"""
