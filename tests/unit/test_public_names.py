"""The public surface: the Python reference, `__all__` and what can be imported name the same, and our backends use only that."""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from werkzeug.local import LocalProxy

ROOT = Path(__file__).parents[2]
CORE = ROOT / "compat_auth"
BACKENDS = ROOT / "backends" / "compat_auth_backends"
PAGE = ROOT / "docs" / "reference" / "python.md"
PUBLIC_PACKAGES = ("config", "client")
# What others build on; the other modules of `client` serve the command.
CLIENT_MODULES = ("credential", "for_httpx", "for_requests", "kerberos", "origin")
PUBLIC_MODULES = sorted(
    [
        *(f"compat_auth.{path.stem}" for path in CORE.glob("*.py") if path.stem != "__init__"),
        *(f"compat_auth.{name}" for name in PUBLIC_PACKAGES),
        *(f"compat_auth.client.{name}" for name in CLIENT_MODULES),
    ]
)
PRIVATE_ROOMS = {
    f"compat_auth.{path.parent.name}" for path in CORE.glob("*/__init__.py") if path.parent.name not in PUBLIC_PACKAGES
}
_MODULE = re.compile(
    r"^\.\. automodule:: (?P<module>\S+)\n(?: +:(?!members)\S+:.*\n)*(?: +:members: (?P<names>.+(?:\n {13}.+)*))?",
    re.MULTILINE,
)
_NESTED = re.compile(r"^   \.\. py:\w+:: (\w+)$", re.MULTILINE)
_SINGLE = re.compile(r"^\.\. auto(?:class|function|data):: (?P<module>[\w.]+)\.(?P<name>\w+)$", re.MULTILINE)
_ALSO = re.compile(r"^`(?P<module>compat_auth[\w.]*)` also has: (?P<names>(?:.+\n)+)", re.MULTILINE)


def names_on_page(text: str) -> set[str]:
    """Return the dotted names that the Python reference documents."""
    found = {f"{match['module']}.{match['name']}" for match in _SINGLE.finditer(text)}
    for match in _MODULE.finditer(text):
        names = [name.strip() for name in (match["names"] or "").replace("\n", " ").split(",")]
        block = text[match.end() :].partition("\n.. ")[0].partition("```")[0]
        found |= {f"{match['module']}.{name}" for name in [*names, *_NESTED.findall(block)] if name}
    for match in _ALSO.finditer(text):
        found |= {f"{match['module']}.{name}" for name in re.findall(r"`(\w+)`", match["names"])}
    return found


def names_of(module: str) -> set[str]:
    """Return the dotted names in a module's `__all__`."""
    listed: list[str] = getattr(importlib.import_module(module), "__all__", [])
    return {f"{module}.{name}" for name in listed}


def docstrings_of(module: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the docstring of each public name of a module, and of the methods of its classes."""
    for dotted in sorted(names_of(module)):
        thing = getattr(importlib.import_module(module), dotted.rpartition(".")[2])
        if type(thing) is LocalProxy:
            continue
        yield dotted, inspect.getdoc(thing) or ""
        if inspect.isclass(thing) and thing.__module__.startswith("compat_auth"):
            for name in vars(thing):
                if not name.startswith("_"):
                    yield f"{dotted}.{name}", inspect.getdoc(inspect.getattr_static(thing, name)) or ""


def test_the_python_reference_lists_exactly_the_public_names() -> None:
    public = set[str]().union(*map(names_of, PUBLIC_MODULES))

    documented = names_on_page(PAGE.read_text(encoding="utf-8"))

    without_names = [module for module in PUBLIC_MODULES if not names_of(module)]
    missing = [
        name
        for name in sorted(public)
        if not hasattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2])
    ]
    differences = {
        "modules without __all__": without_names,
        "not importable": missing,
        "public, but not in docs/reference/python.md": sorted(public - documented),
        "in docs/reference/python.md, but not public": sorted(documented - public),
    }
    assert {what: names for what, names in differences.items() if names} == {}


def test_a_name_that_is_only_on_the_page_or_only_in_the_module_would_be_noticed() -> None:
    text = (
        ".. automodule:: compat_auth.x\n   :members: A, b,\n             C\n\n   .. py:data:: d\n\n"
        ".. autoclass:: compat_auth.y.E\n```\n\n`compat_auth.z` also has: `F` (a mark),\n`G`.\n\n`compat_auth.z` says `H`.\n"
    )

    found = names_on_page(text)

    assert found == {
        "compat_auth.x.A",
        "compat_auth.x.b",
        "compat_auth.x.C",
        "compat_auth.x.d",
        "compat_auth.y.E",
        "compat_auth.z.F",
        "compat_auth.z.G",
    }


def test_a_public_docstring_sends_nobody_to_a_private_name() -> None:
    rooms = "|".join(room.partition(".")[2] for room in PRIVATE_ROOMS)
    # A constant or a method that is not public shows by its spelling; `compat_auth.room.module` by its room.
    private = re.compile(rf"(?:compat_auth\.)?(?:{rooms})\.\w+|[A-Z]+_[A-Z_]+|(?P<owner>[A-Z]\w+)\.\w+")
    public = {name.rpartition(".")[2] for module in PUBLIC_MODULES for name in names_of(module)}
    # Of the environment and of protocols, not of ours.
    others = {"KRB5_CLIENT_KTNAME", "REMOTE_ADDR"}

    sent = [
        f"{name}: {reference}"
        for module in PUBLIC_MODULES
        for name, text in docstrings_of(module)
        for reference in re.findall(r"`([^`]+)`", text)
        if (match := private.fullmatch(reference.partition("(")[0]))
        and (match["owner"] or reference) not in public | others
    ]

    assert sent == []


def test_our_backends_import_only_public_names() -> None:
    public = set[str]().union(*map(names_of, PUBLIC_MODULES))

    private = [
        f"{path.relative_to(BACKENDS)}:{node.lineno}: {node.module}.{alias.name}"
        for path in sorted(BACKENDS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "compat_auth"
        for alias in node.names
        if f"{node.module}.{alias.name}" not in public
    ]

    assert private == []


def test_the_contract_of_the_backends_forbids_every_private_room() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / "setup.cfg", encoding="utf-8")

    forbidden = contracts["importlinter:contract:backends-use-public-names"]["forbidden_modules"].split()

    assert set(forbidden) == PRIVATE_ROOMS


def test_the_contract_of_the_client_forbids_all_but_errors_and_tools() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / "setup.cfg", encoding="utf-8")
    children = {path.stem for path in CORE.glob("*.py")} | {path.parent.name for path in CORE.glob("*/__init__.py")}
    allowed = {"__init__", "client", "errors", "crypto", "concurrency"}

    forbidden = contracts["importlinter:contract:client"]["forbidden_modules"].split()

    assert set(forbidden) == {f"compat_auth.{name}" for name in children - allowed}


def test_the_stability_page_and_the_security_policy_support_the_same_versions() -> None:
    pages = [ROOT / "docs" / "reference" / "stability.md", ROOT / "SECURITY.md"]

    supported = [
        re.findall(r"newest minor release gets security fixes|before 1\.0 that is the newest 0\.x", text, re.IGNORECASE)
        for text in (page.read_text(encoding="utf-8") for page in pages)
    ]

    assert [len(found) for found in supported] == [2, 2]


def test_one_import_serves_a_backend() -> None:
    backend = importlib.import_module("compat_auth.backend")

    reexported = {
        "outcome": ("Accept", "Reject", "Challenge", "Skip", "Outcome"),
        "identity": ("Identity", "Token"),
        "credentials": ("Absent", "Basic", "Bearer", "Negotiate", "Unrecognised", "Credential"),
        "errors": ("BackendUnavailable", "ConfigError", "TooManyRequests"),
        "config": ("Settings",),
    }
    differing = [
        f"{module}.{name}"
        for module, names in reexported.items()
        for name in names
        if getattr(backend, name) is not getattr(importlib.import_module(f"compat_auth.{module}"), name)
    ]

    assert differing == []
