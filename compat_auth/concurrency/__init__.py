"""Fair queues, rate limits, circuit breakers, single flight, background work: no domain knowledge.

Imports: `compat_auth.errors` only.
"""
