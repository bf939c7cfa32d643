"""The request that the current code works for, on the event loop and on the threads of a lane."""

from __future__ import annotations

from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("compat_auth_request_id", default="")
"""Its id; "" outside a request."""
