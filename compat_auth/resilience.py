"""Keeps a slow source or a noisy client from blocking everybody: circuit breaker and rate limit."""

from __future__ import annotations

from compat_auth.concurrency.circuit_breaker import PATIENCE_S, CircuitBreaker
from compat_auth.concurrency.rate_limit import Tries, network_of, share_of

__all__ = [
    "PATIENCE_S",
    "CircuitBreaker",
    "Tries",
    "network_of",
    "share_of",
]
