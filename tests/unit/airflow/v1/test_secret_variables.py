"""Variables, whose secrets 3.x shows as stars."""

import pytest

from support.v1_conversation import Conversation, refuses, says

VARIABLE = {"key": "k", "value": "v", "description": None}


def masks(talk: Conversation, number: int = 0) -> list[str]:
    return [value for name, value in talk.query(number) if name == "update_mask"]


def test_a_secret_that_is_written_back_as_it_was_shown_stays() -> None:
    masked = says({**VARIABLE, "value": "***"})

    talk = Conversation("PATCH /variables/k", masked, masked, body={"key": "k", "value": "***", "description": "new"})

    assert talk.status == 200
    assert talk.lines() == ["GET /api/v2/variables/k", "PATCH /api/v2/variables/k"]
    assert masks(talk, 1) == ["description"]


@pytest.mark.parametrize("status", [401, 403, 500, 502])
def test_a_secret_that_nobody_can_look_at_now_is_not_overwritten_with_its_mask(status: int) -> None:
    body = {"key": "password", "value": "***"}

    talk = Conversation("POST /variables", refuses(status), body=body)

    assert talk.status >= 400
    assert talk.lines() == ["GET /api/v2/variables/password"]


def test_a_secret_beside_a_changed_member_is_not_destroyed() -> None:
    shown = says({**VARIABLE, "value": '{"password": "***", "n": 1}'})
    body = {"key": "k", "value": '{"password": "***", "n": 2}'}

    patched = Conversation("PATCH /variables/k", shown, body=body)
    posted = Conversation("POST /variables", shown, body=body)

    assert (patched.status, posted.status) == (400, 400)
    assert patched.lines() == posted.lines() == ["GET /api/v2/variables/k"]


def test_stars_that_stand_for_no_secret_are_a_value_like_any_other() -> None:
    plain = says({**VARIABLE, "value": "plain"})

    talk = Conversation("PATCH /variables/k", plain, plain, body={"key": "k", "value": "*** loud ***"})

    assert talk.sent(1)["value"] == "*** loud ***"
    assert masks(talk, 1) == ["value"]


def test_a_variable_that_is_there_is_replaced_because_a_post_of_2_x_does_both() -> None:
    talk = Conversation("POST /variables", refuses(409), says(VARIABLE), body={"key": "a/b", "value": "v"})

    assert talk.lines() == ["POST /api/v2/variables", "PATCH /api/v2/variables/a%2Fb"]
    assert talk.status == 200
    assert talk.json() == {"key": "a/b", "value": "v"}
    assert masks(talk, 1) == ["value", "description"]
    assert talk.sent(1)["description"] is None
