"""Structured log events, as the lines that 2.11 wrote."""

import json

import pytest

from compat_auth.airflow.v1.resources.logs import LogRewriter, whole_text


@pytest.mark.parametrize(
    ("event", "text"),
    [
        pytest.param({"event": "bare"}, "bare", id="bare"),
        pytest.param("a line of its own", "a line of its own", id="text"),
        pytest.param(
            {
                "timestamp": "2024-01-02T03:04:05.678901Z",
                "level": "warning",
                "event": "e",
                "filename": "f.py",
                "lineno": 3,
            },
            "[2024-01-02T03:04:05.678+0000] {f.py:3} WARNING - e",
            id="whole",
        ),
        pytest.param(
            {"timestamp": "2024-01-02T03:04:05+02:00", "event": "e", "logger": "task.stdout"},
            "[2024-01-02T03:04:05.000+0200] {task.stdout:0} INFO - e",
            id="without-a-place",
        ),
        pytest.param({"timestamp": "yesterday", "event": "e"}, "[yesterday] {task:0} INFO - e", id="no-date"),
        pytest.param({"event": None}, "", id="nothing"),
    ],
)
def test_an_event_is_a_line(event: object, text: str) -> None:
    assert whole_text([event]) == text


def test_what_the_server_says_of_its_sources_is_marked_as_2_11_marks_it() -> None:
    events = ["::group::Log message source details", "/logs/1.log", "::endgroup::", "::group::mine", "::endgroup::"]

    text = whole_text({"event": event} for event in events)

    assert text.split("\n") == [
        " INFO - ::group::Log message source details",
        "*** /logs/1.log",
        " INFO - ::endgroup::",
        "::group::mine",
        "::endgroup::",
    ]


def test_an_exception_is_a_traceback() -> None:
    frames = [{"filename": "f.py", "lineno": 7, "name": "run"}]
    detail = {"exc_type": "ValueError", "exc_value": "bad", "frames": frames}
    event = {"timestamp": "2024-01-02T03:04:05Z", "level": "error", "event": "failed", "error_detail": [detail]}

    assert whole_text([event]).split("\n")[1:] == [
        "Traceback (most recent call last):",
        '  File "f.py", line 7, in run',
        "ValueError: bad",
    ]


def test_parts_cut_anywhere_make_the_same_text() -> None:
    log = "".join(json.dumps({"event": word}, ensure_ascii=False) + "\n" for word in ("ä", "b/c", "🦉")).encode()

    for size in range(1, 9):
        rewriter = LogRewriter("vm")
        said = b"".join(rewriter.feed(log[at : at + size]) for at in range(0, len(log), size)) + rewriter.end()
        assert said.decode() == "vm\nä\nb/c\n🦉\n"


def test_a_line_that_is_no_json_passes_as_it_is_whatever_its_bytes() -> None:
    rewriter = LogRewriter("vm")

    said = rewriter.feed(b"caf\xe9\n") + rewriter.end()

    assert said == b"vm\ncaf\xe9\n"


def test_an_empty_log_is_an_empty_line() -> None:
    assert LogRewriter("vm").end() == b"vm\n\n"
