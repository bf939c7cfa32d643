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
