"""The switch with which the tests' gateways run behind a front proxy of their own: `TEST_FRONT=nginx`."""

from __future__ import annotations

import os

FRONT = os.environ.get("TEST_FRONT", "")
"""The front proxy that every gateway of the tests starts; "": none."""


def front_options() -> list[str]:
    """Return the options of `compat-auth serve` for it."""
    return ["--front", FRONT] if FRONT else []
