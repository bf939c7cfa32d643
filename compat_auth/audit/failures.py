"""What a log may say about an exception of somebody else's code. No I/O, no Flask."""

from __future__ import annotations

import traceback


def describe_accident(accident: BaseException) -> str:
    """Return the class of an exception and where it was raised, innermost last.

    Never its message: whoever wrote `raise ValueError(f"cannot check {password}")` had no log in mind.
    """
    frames = traceback.extract_tb(accident.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return " > ".join((type(accident).__name__, *places))


def where_raised(accident: BaseException) -> str:
    """Return the file and line where an exception of somebody else's code was raised, or where its source is wrong."""
    if isinstance(accident, SyntaxError):
        return f"{accident.filename}:{accident.lineno}"
    frames = traceback.extract_tb(accident.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "a place that is not known"
