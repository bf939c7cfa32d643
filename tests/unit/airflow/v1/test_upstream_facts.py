"""What is known about the upstream is asked once, and again after a while."""

from collections.abc import Generator

from compat_auth.airflow.v1.messages import Answer, Call
from compat_auth.airflow.v1.upstream_facts import FRESH_S, UpstreamFacts
from support.v1_conversation import refuses, says


def find_out(steps: Generator[Call, Answer, bool], *answers: Answer) -> tuple[bool, int]:
    """Return what was found out, and how many calls it took."""
    left = list(answers)
    try:
        next(steps)
        while True:
            steps.send(left.pop(0))
    except StopIteration as end:
        return end.value, len(answers) - len(left)


def test_whether_there_is_fab_is_asked_once_a_minute() -> None:
    now = [0.0]
    facts = UpstreamFacts(lambda: now[0])

    first = find_out(facts.has_fab(), says({}))
    again = find_out(facts.has_fab())
    now[0] = FRESH_S
    later = find_out(facts.has_fab(), says({"detail": "Not Found"}, 404))

    assert (first, again, later) == ((True, 1), (True, 0), (False, 1))


def test_a_token_that_is_refused_says_nothing_about_fab_that_is_kept() -> None:
    facts = UpstreamFacts()

    find_out(facts.has_fab(), refuses(401, "Not authenticated"))
    again = find_out(facts.has_fab(), says({"error": "API route not found"}, 404))

    assert again == (False, 1)


def test_no_permission_for_permissions_is_fab_s_own_answer() -> None:
    facts = UpstreamFacts()

    found = find_out(facts.has_fab(), refuses(403, "Forbidden"))
    again = find_out(facts.has_fab())

    assert (found, again) == ((True, 1), (True, 0))


def test_a_login_page_is_no_answer_of_fab() -> None:
    found = find_out(UpstreamFacts().has_fab(), Answer(200, b"<!doctype html>"))

    assert found == (False, 1)
