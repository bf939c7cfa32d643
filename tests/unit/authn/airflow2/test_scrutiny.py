"""A module that lets in more people here than Airflow 2 did is found in its source, with the line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from compat_auth.authn.airflow2.imports import import_watched
from compat_auth.authn.airflow2.scrutiny import more_open

Written = Callable[..., str]
_numbers = count()
HEAD = "import logging\nfrom functools import wraps\nfrom flask import Response, request\n\n\ndef init_app(app):\n    pass\n\n\n"
MODULE = (
    HEAD + "def requires_authentication(function):\n    @wraps(function)\n    def decorated(*args, **kwargs):\n"
    "        {}\n        if request.headers.get('X') != 'x':\n            return Response('', 401)\n"
    "        return function(*args, **kwargs)\n    return decorated\n"
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Written]:
    """Write and import a module with a name that no other has, and helpers by their names."""
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]  # pytest does not type it
    before = set(sys.modules)

    def write(content: str, **helpers: str) -> str:
        name = f"site_scrutiny_{next(_numbers)}"
        for helper, source in helpers.items():
            (tmp_path / f"{helper}.py").write_text(source)
        (tmp_path / f"{name}.py").write_text(content)
        importlib.invalidate_caches()
        import_watched(name)
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    "statement",
    [
        "if function.__name__ in ('health', 'version'): return function(*args, **kwargs)",
        "if getattr(function, '__name__', '').startswith('get_'): return function(*args, **kwargs)",
        "if function.__qualname__ == 'x': return function(*args, **kwargs)",
        "open_ = function.__module__.endswith('public')",
        "if request.endpoint == 'health': return function(*args, **kwargs)",
        "if request.url_rule is None: return function(*args, **kwargs)",
        "if (request.view_args or {}).get('dag_id') == 'public': return function(*args, **kwargs)",
        "if request.blueprint is None: return function(*args, **kwargs)",
        "if kwargs.get('dag_id') == 'public': return function(*args, **kwargs)",
        "if not args: return function(*args, **kwargs)",
        "if 'dag_id' not in kwargs: return function(*args, **kwargs)",
    ],
)
def test_deciding_by_the_view_or_its_arguments_is_found_with_its_line(written: Written, statement: str) -> None:
    name = written(MODULE.format(statement))

    assert more_open(name).startswith(f"{name}.py:13: decides by ")


@pytest.mark.parametrize(
    "statement",
    [
        "logging.info('asks for %s', function.__name__)",
        "logging.getLogger(__name__).debug('%s %s', request.endpoint, kwargs)",
        "logging.info(f'{function.__name__}: {args}')",
        "name = request.path",
        "decorated.__name__ = function.__name__",
        "pass",
    ],
)
def test_what_only_writes_it_down_is_not_found(written: Written, statement: str) -> None:
    assert more_open(written(MODULE.format(statement))) == ""


def test_a_helper_of_the_site_is_looked_at_where_the_module_can_reach_it(written: Written) -> None:
    helper = "from flask import request\n\ndef is_open():\n    return request.endpoint == 'x'\n\ndef page():\n    return request.endpoint\n"
    start = "from {} import {}\n" + MODULE.format("pass")

    reached = written(
        start.format("site_scrutiny_a", "is_open").replace(
            "pass\n        if", "if is_open(): return function()\n        if"
        ),
        site_scrutiny_a=helper,
    )
    unreached = written(start.format("site_scrutiny_b", "page"), site_scrutiny_b=helper)

    assert more_open(reached) == (
        "site_scrutiny_a.py:4: decides by request.endpoint, which is not there; decide by request.path"
    )
    assert more_open(unreached) == ""


@pytest.mark.parametrize(
    "fallback",
    [
        "    def requires_authentication(function):\n        return function\n",
        (
            "    def requires_authentication(function):\n        def decorated(*a, **k):\n            return function(*a, **k)\n"
            "        return decorated\n"
        ),
        "    requires_authentication = lambda function: function\n",
    ],
)
@pytest.mark.parametrize("caught", ["ImportError", "ModuleNotFoundError", "Exception", "(ImportError, OSError)", ""])
def test_a_fallback_to_everybody_is_found(written: Written, fallback: str, caught: str) -> None:
    name = written(
        f"{MODULE.format('pass')}\ntry:\n    import json\nexcept {caught}:\n{fallback}".replace("except :", "except:")
    )

    assert "accepts everybody if an import fails" in more_open(name)


def test_a_flag_that_lets_everybody_in_is_found(written: Written) -> None:
    name = written(
        "try:\n    import json as library\nexcept ImportError:\n    library = None\n"
        + MODULE.format("if library is None: return function(*args, **kwargs)")
    )

    assert more_open(name) == f"{name}.py:17: accepts everybody if library could not be imported"


def test_a_fallback_to_nobody_or_to_another_library_is_not_found(written: Written) -> None:
    name = written(
        "try:\n    import json as library\nexcept ImportError:\n    library = None\n"
        + MODULE.format("if library is None: return Response('', 503)")
    )

    assert more_open(name) == ""
