"""Request ids, durations, and the listener of the metrics: for the operator.

Imports: `gateway.decision`, `http` and below.
"""
