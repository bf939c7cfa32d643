"""Asks directories for more than `check` does: whether their filters find anybody, and for certificates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast, runtime_checkable

from cryptography import x509

from compat_auth.authn.users.directories import load_directories
from compat_auth.cli.doctor.peers.certificates import describe_certificate
from compat_auth.cli.doctor.result import Result, Status
from compat_auth.config import Settings


@runtime_checkable
class _Diagnosing(Protocol):
    def diagnose(self) -> list[tuple[str, str]]: ...


@runtime_checkable
class _Certified(Protocol):
    def certificates(self) -> list[tuple[str, bytes]]: ...


@runtime_checkable
class _Closing(Protocol):
    def close(self) -> None: ...


def examine_directory(name: str, settings: Settings) -> Iterator[Result]:
    """Yield what a directory says; nothing if it says nothing beyond `check`.

    Raises:
        ConfigError: A setting is wrong.
        BackendUnavailable: The directory could not be asked.
    """
    (directory,) = load_directories([name], settings)
    # Not narrowed: a directory may have both, or none.
    asked: object = directory
    try:
        if isinstance(asked, _Certified):
            for url, der in asked.certificates():
                yield describe_certificate(url, x509.load_der_x509_certificate(der))
        if isinstance(asked, _Diagnosing):
            for status, text in asked.diagnose():
                yield _result(f"directory {name}", cast("Status", status), text)
    finally:
        if isinstance(asked, _Closing):
            asked.close()


def _result(about: str, status: Status, text: str) -> Result:
    if status == "ok":
        where, _, what = text.partition(": ")
        return Result.okay(about, what, where)
    return Result.warning(about, text) if status == "warning" else Result.failure(about, text)
