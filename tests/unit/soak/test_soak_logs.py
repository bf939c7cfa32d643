from pathlib import Path

import pytest

from soak.logs import LONGEST_BYTES, LogReader

TRACEBACK = "Traceback (most recent call last):\n  File 'x'\nValueError: y\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "replica.log"
    path.touch()
    return path


@pytest.fixture
def reader(log: Path) -> LogReader:
    return LogReader([log], lambda line: "secret" in line)


def append(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(text)


def test_ordinary_lines_are_counted_and_not_reported(log: Path, reader: LogReader) -> None:
    append(log, "one\ntwo\n")

    assert reader.read() == []
    assert reader.lines == 2


def test_a_line_is_read_once_and_only_when_it_is_whole(log: Path, reader: LogReader) -> None:
    append(log, "one\na sec")

    first = reader.read()
    append(log, "ret\n")

    assert (first, reader.read(), reader.read()) == ([], ["replica.log: a secret"], [])


def test_a_secret_is_reported_without_itself(log: Path, reader: LogReader) -> None:
    append(log, "the secret is 42\n")

    assert reader.read() == ["replica.log: a secret"]


def test_a_traceback_is_reported_with_its_lines(log: Path, reader: LogReader) -> None:
    append(log, f"before\n{TRACEBACK}")

    (found,) = reader.read()

    assert "ValueError: y" in found


def test_a_traceback_does_not_bring_a_secret_into_the_report(log: Path, reader: LogReader) -> None:
    append(log, f"{TRACEBACK}secret 42\n")

    assert not any("42" in found for found in reader.read())


def test_a_long_log_is_emptied_and_read_on(log: Path, reader: LogReader) -> None:
    append(log, "x" * 99 + "\n")
    append(log, ("x" * 99 + "\n") * (LONGEST_BYTES // 100 + 1))
    reader.read()

    append(log, "secret\n")

    assert log.stat().st_size < 100
    assert reader.read() == ["replica.log: a secret"]
