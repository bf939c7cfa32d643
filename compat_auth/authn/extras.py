"""The next step for an entry point that cannot be imported."""

from __future__ import annotations

from importlib.metadata import EntryPoint


def remedy_for_missing(point: EntryPoint) -> str:
    """Return the next step for an entry point whose imports are missing: its extra, where it names one."""
    if not point.extras:
        return "install what it needs"
    package = point.dist.name if point.dist else "compat_auth"
    where = " (README: Install)" if package == "compat_auth" else ""
    return f"install {package} with its extra '{point.extras[0]}'{where}"
