"""Objects that exist once: in a Flask app, or for one configuration. Any thread may ask."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TypeVar, cast

from flask import Flask

from compat_auth.config import Settings

T = TypeVar("T")
# What is made may need something else that is shared, hence a lock that the same thread may take twice.
_lock = threading.RLock()
_of_settings: dict[int, dict[object, object]] = {}


def one_per_app(app: Flask, name: str, make: Callable[[], T]) -> T:
    """Return the app's object of that name; make it now if there is none.

    Args:
        app: The app.
        name: Key in `app.extensions`.
        make: Makes it; if this raises, nothing is kept, and the next call tries again.

    Raises:
        Exception: What `make` raises.
    """
    with _lock:
        if name not in app.extensions:
            app.extensions[name] = make()
        return cast("T", app.extensions[name])


def one_per_settings(settings: Settings, key: object, make: Callable[[], T]) -> T:
    """Return the settings' object for the key; make it now if there is none. It lives as long as they do.

    Args:
        settings: By identity: equal settings that were read twice share nothing.
        key: The object's key; hashable.
        make: Makes it; if this raises, nothing is kept, and the next call tries again.

    Raises:
        Exception: What `make` raises.
    """
    with _lock:
        made = _of_settings.get(id(settings))
        if made is None:
            made = _of_settings[id(settings)] = {}
            weakref.finalize(settings, _of_settings.pop, id(settings), None)
        if key not in made:
            made[key] = make()
        return cast("T", made[key])
