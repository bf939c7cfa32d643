"""The stages of a Flask app. Imports little, because every guarded view imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from compat_auth.stages.enforcement import Stages

_EXTENSION = "compat_auth_stages"
SINGLE = frozenset(("Deprecation", "Sunset"))
"""The headers that an answer has once (RFC 9745, RFC 8594): an announcement replaces those of the answer."""


def set_stages(app: Flask, stages: Stages) -> None:
    """Make the views of an app ask these stages from now on."""
    app.extensions[_EXTENSION] = stages


def stages_of(app: Flask) -> Stages | None:
    """Return the stages that the views of an app ask; None: there are none."""
    found: Stages | None = app.extensions.get(_EXTENSION)
    return found
