"""Chooses the class of the clients' connections."""

from __future__ import annotations

import logging

from compat_auth.gateway.connections.uvicorn_protocol import StrictProtocol
from compat_auth.gateway.fast.fast_paths import FastPaths
from compat_auth.gateway.fast.fast_protocol import fast_protocol
from compat_auth.gateway.fast.uvicorn_names import missing_names

logger = logging.getLogger("compat_auth.server")


def protocol_for(paths: FastPaths | None) -> type[StrictProtocol]:
    """Return the class of connections; one without fast paths where there are none, or where uvicorn has changed."""
    if paths is None:
        return StrictProtocol
    missing = missing_names()
    if missing:
        logger.warning(
            "fast_protocol: off, because this uvicorn lacks %s; everything works, only slower: install the version of "
            "uvicorn that this release was tested with",
            ", ".join(missing),
        )
        return StrictProtocol
    return fast_protocol(paths)
