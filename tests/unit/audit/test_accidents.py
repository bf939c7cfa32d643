"""An unexpected exception in the log: where it was raised, and nothing of its message."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from compat_auth.audit.accidents import traceback_without_messages
from compat_auth.errors import ConfigError

CANARY = "canary-Pa55word"


class OddError(Exception):
    """Shows what it was given in each way that an exception has."""

    def __str__(self) -> str:
        return CANARY

    __repr__ = __str__


def plain() -> None:
    raise ValueError(CANARY)


def odd() -> None:
    raise OddError(CANARY)


def caused() -> None:
    try:
        plain()
    except ValueError as exc:
        raise RuntimeError(CANARY) from exc


def meanwhile() -> None:
    try:
        plain()
    except ValueError:
        raise RuntimeError(CANARY)  # noqa: B904  # the kind that is tested


def key() -> None:
    values: dict[str, str] = {}
    values[CANARY]


def grouped() -> None:
    raise ExceptionGroup(CANARY, [ValueError(CANARY), ExceptionGroup(CANARY, [TypeError(CANARY)])])


def noted() -> None:
    error = ValueError("why")
    error.add_note(CANARY)
    raise error


def of_the_system() -> None:
    raise OSError(errno.EMFILE, CANARY, CANARY)


def of_bytes() -> None:
    CANARY.encode().decode("utf-16")


def circular() -> None:
    error = ValueError(CANARY)
    error.__cause__ = RuntimeError(CANARY)
    error.__cause__.__cause__ = error
    raise error


def text_of(fail: Callable[[], None]) -> str:
    try:
        fail()
    except BaseException as exc:  # noqa: BLE001  # of any kind
        return traceback_without_messages(exc)
    raise AssertionError("it did not fail")


@pytest.mark.parametrize(
    ("fail", "names"),
    [
        pytest.param(plain, ["ValueError"], id="plain"),
        pytest.param(odd, ["OddError"], id="odd-str"),
        pytest.param(caused, ["ValueError", "direct cause", "RuntimeError"], id="cause"),
        pytest.param(meanwhile, ["ValueError", "During handling", "RuntimeError"], id="context"),
        pytest.param(key, ["KeyError"], id="key"),
        pytest.param(grouped, ["ExceptionGroup", "ValueError", "TypeError"], id="group"),
        pytest.param(noted, ["ValueError"], id="note"),
        pytest.param(of_the_system, ["OSError: Too many open files"], id="system"),
        pytest.param(of_bytes, ["UnicodeDecodeError"], id="bytes"),
        pytest.param(circular, ["RuntimeError", "ValueError"], id="circle"),
    ],
)
def test_an_exception_is_shown_with_its_place_and_without_its_message(
    fail: Callable[[], None], names: list[str]
) -> None:
    text = text_of(fail)

    assert CANARY not in text
    assert "test_accidents.py" in text
    assert [name for name in names if name not in text] == []


def test_an_error_of_our_own_keeps_its_message() -> None:
    def fail() -> None:
        raise ConfigError("serve.bind: no address")

    text = text_of(fail)

    assert text.endswith("ConfigError: serve.bind: no address")


def test_many_causes_are_cut() -> None:
    error = ValueError(CANARY)
    for _ in range(100):
        following = ValueError(CANARY)
        following.__cause__ = error
        error = following

    text = traceback_without_messages(error)

    assert text.count("ValueError") == 20
