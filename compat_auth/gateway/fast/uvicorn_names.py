"""uvicorn's private names that the fast protocol relies on: where one is missing, it switches itself off."""

from __future__ import annotations

import inspect
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

# What the fast protocol calls and overrides, with the parameters that it passes.
_METHODS: dict[type[Any], dict[str, tuple[str, ...]]] = {
    HttpToolsProtocol: {
        "connection_made": ("transport",),
        "connection_lost": ("exc",),
        "data_received": ("data",),
        "on_message_begin": (),
        "on_url": ("url",),
        "on_header": ("name", "value"),
        "on_headers_complete": (),
        "on_body": ("body",),
        "on_message_complete": (),
        "on_response_complete": (),
        "pause_writing": (),
        "resume_writing": (),
        "timeout_keep_alive_handler": (),
        "_unset_keepalive_if_required": (),
        "_start_asgi_task": ("cycle", "app"),
    },
    FlowControl: {"pause_reading": (), "resume_reading": ()},
}
# What it reads and writes; each is assigned in the source of the class.
_ATTRIBUTES: dict[type[Any], tuple[str, ...]] = {
    HttpToolsProtocol: (
        "parser",
        "loop",
        "timeout_keep_alive",
        "server_state",
        "transport",
        "flow",
        "server",
        "client",
        "scheme",
        "pipeline",
        "url",
        "scope",
        "headers",
        "expect_100_continue",
        "cycle",
    ),
    RequestResponseCycle: ("response_complete", "response_started", "keep_alive", "disconnected", "message_event"),
    FlowControl: ("write_paused",),
}


def missing_names() -> list[str]:
    """Return the names that this uvicorn lacks, or has with other parameters; none where the fast protocol works."""
    missing: list[str] = []
    for owner, methods in _METHODS.items():
        for name, parameters in methods.items():
            method = getattr(owner, name, None)
            found = () if method is None else tuple(inspect.signature(method).parameters)[1:]
            if method is None or found != parameters:
                missing.append(f"{owner.__name__}.{name}({', '.join(parameters)})")
    for owner, attributes in _ATTRIBUTES.items():
        assigned = _assigned(owner)
        missing += [f"{owner.__name__}.{name}" for name in attributes if name not in assigned]
    return missing


def _assigned(owner: type[Any]) -> set[str]:
    """Return the names of the attributes that the methods of a class use."""
    functions = [member for member in vars(owner).values() if inspect.isfunction(member)]
    return {name for function in functions for name in function.__code__.co_names}
