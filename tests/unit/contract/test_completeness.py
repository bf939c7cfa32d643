"""Every backend that this package brings is held to the contract somewhere."""

from __future__ import annotations

from pathlib import Path

from compat_auth.authn.registry import installed_backends

TESTS = Path(__file__).parents[2]
# It lets in whoever presents nothing, as Airflow 2's did; the contract's first rule is that nobody does.
EXEMPT = frozenset(("default",))


def test_every_backend_of_ours_is_held_to_the_contract() -> None:
    suites = [text for path in TESTS.rglob("test_*.py") if "(BackendContract" in (text := path.read_text("utf-8"))]
    ours = {
        name: point.attr
        for name, point in installed_backends().items()
        if point.dist is not None and point.dist.name.replace("-", "_") == "compat_auth"
    }

    made = {name: (f" {backend}(", f" {backend}.from_settings(") for name, backend in ours.items()}
    held = {name for name, ways in made.items() if any(way in text for text in suites for way in ways)}

    assert ours.keys() - held == EXEMPT
