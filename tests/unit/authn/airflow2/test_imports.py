"""Failed imports of Airflow's names inside a site's module are known, whatever the module does about them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from compat_auth.authn.airflow2.import_notes import failed_import
from compat_auth.authn.airflow2.imports import import_watched

Written = Callable[..., str]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Written]:
    """Write modules, and return the name of the first; names end with the test's number."""
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]  # pytest does not type it
    before = set(sys.modules)

    def write(**contents: str) -> str:
        for name, content in contents.items():
            path = tmp_path / (
                name.replace("____init__", "__-init-").replace("__", "/").replace("-init-", "__init__") + ".py"
            )
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        importlib.invalidate_caches()
        return next(iter(contents)).replace("__", ".")

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


FALLBACK = "try:\n    {}\nexcept {}:\n    X = None\n"


@pytest.mark.parametrize(
    ("number", "statement"),
    list(
        enumerate(
            (
                "import airflow.jobs.gone",
                "import airflow.jobs as X",
                "from airflow.jobs.gone import X",
                "from airflow.jobs import *",
                "from flask_appbuilder.views import ModelView as X",
                "import importlib; X = importlib.import_module('airflow.jobs.gone')",
                "from importlib import import_module; X = import_module('airflow.jobs.gone')",
                "import importlib.util; X = importlib.util.find_spec('airflow')",
                "import pkgutil; X = pkgutil.resolve_name('airflow.www:app')",
                "from werkzeug.utils import import_string; X = import_string('airflow.www.app', silent=True)",
                "X = __import__('airflow.jobs')",
                "exec('import airflow.jobs')",
            )
        )
    ),
)
def test_a_fallback_does_not_hide_a_failed_import(written: Written, number: int, statement: str) -> None:
    name = written(**{f"watched_fallback_{number}": FALLBACK.format(statement, "Exception")})

    import_watched(name)

    assert failed_import(name).startswith(f"{name} cannot import ")


@pytest.mark.parametrize(
    ("number", "statement", "missing"),
    [
        (0, "from airflow.site import gone as X", "airflow.site.gone"),
        (1, "import airflow.broken as X", "airflow.broken"),
        (2, "import importlib; X = importlib.import_module('airflow.broken')", "airflow.broken"),
        (3, "import airflow.site.gone as X", "airflow.site.gone"),
    ],
)
def test_where_airflow_is_there_a_name_that_was_removed_counts(
    written: Written, monkeypatch: pytest.MonkeyPatch, number: int, statement: str, missing: str
) -> None:
    for known in [known for known in sys.modules if known.partition(".")[0] == "airflow"]:
        monkeypatch.delitem(sys.modules, known)
    name = written(
        **{
            f"watched_removed_{number}": FALLBACK.format(statement, "Exception"),
            "airflow____init__": "",
            "airflow__site": "def __getattr__(name):\n    if name == 'lazy':\n        return 1\n    raise AttributeError(name)\n",
            "airflow__broken": "raise RuntimeError('removed in Airflow 3')\n",
        }
    )

    import_watched(name)

    assert missing in failed_import(name)


def test_what_airflow_has_does_not_count(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    for known in [known for known in sys.modules if known.partition(".")[0] == "airflow"]:
        monkeypatch.delitem(sys.modules, known)
    name = written(
        watched_present="from airflow.site import lazy, there\nimport airflow.site as site\nfrom airflow import site as other\n",
        airflow____init__="",
        airflow__site="there = 1\n"
        "def __getattr__(name):\n    if name == 'lazy':\n        return 1\n    raise AttributeError(name)\n"
        "try:\n    import airflow.optional\nexcept ImportError:\n    pass\n",
    )

    import_watched(name)

    assert failed_import(name) == ""


def test_an_import_inside_a_function_counts_once_it_fails(written: Written) -> None:
    name = written(
        watched_lazy="def ask():\n"
        + "".join(f"    {line}\n" for line in FALLBACK.format("import airflow.jobs", "ImportError").splitlines())
    )
    module = import_watched(name)

    before = failed_import(name)
    module.ask()

    assert (before, failed_import(name)) == ("", f"{name} cannot import airflow.jobs")


@pytest.mark.parametrize(
    ("number", "use"),
    [(0, "import {0}"), (1, "from {0} import X"), (2, "import importlib; importlib.import_module('{0}')")],
)
def test_what_fails_in_a_module_of_the_site_counts_for_those_that_use_it(
    written: Written, number: int, use: str
) -> None:
    helper = f"watched_helper_{number}"
    name = written(
        **{
            f"watched_user_{number}": use.format(f"watched_between_{number}") + "\n",
            f"watched_between_{number}": f"from {helper} import X\n",
            helper: FALLBACK.format("import airflow.jobs", "ImportError"),
            f"watched_stranger_{number}": "import json\n",
        }
    )

    import_watched(f"watched_stranger_{number}")
    import_watched(name)

    assert failed_import(name) == f"{helper} cannot import airflow.jobs"
    assert failed_import(f"watched_stranger_{number}") == ""


def test_a_package_counts_for_its_modules(written: Written) -> None:
    name = written(
        watched_package__login="from . import keys\n",
        watched_package__keys="",
        watched_package____init__=FALLBACK.format("import airflow.jobs", "ImportError"),
    )

    import_watched(name)

    assert failed_import(name) == "watched_package cannot import airflow.jobs"


def test_a_library_that_can_do_without_airflow_does_not_count(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "watched_library.py").write_text(FALLBACK.format("import airflow.jobs", "ImportError"))
    monkeypatch.syspath_prepend(str(installed))  # pyright: ignore[reportUnknownMemberType]
    name = written(watched_user_of_library="import watched_library\n")

    import_watched(name)

    assert failed_import(name) == ""


def test_a_module_that_was_imported_before_is_watched_all_the_same(written: Written) -> None:
    name = written(
        watched_early="import watched_early_helper\n",
        watched_early_helper=FALLBACK.format("import airflow.jobs", "ImportError"),
    )
    early: ModuleType = importlib.import_module(name)

    watched = import_watched(name)

    assert watched is early
    assert failed_import(name) == "watched_early_helper cannot import airflow.jobs"


def test_a_module_of_python_s_own_is_not_executed_again() -> None:
    colorsys = importlib.import_module("colorsys")
    function = colorsys.rgb_to_hsv

    import_watched("colorsys")

    assert colorsys.rgb_to_hsv is function


def test_a_module_finds_importlib_as_it_is(written: Written) -> None:
    name = written(
        watched_importlib="import importlib\nimport importlib.util as u\nfrom importlib import util, metadata\n"
        "from importlib.metadata import version\nassert u is util\nassert importlib.util is util\n"
        "resources = importlib.import_module('importlib.resources')\n"
    )

    module = import_watched(name)

    assert (module.resources.__name__, failed_import(name)) == ("importlib.resources", "")
