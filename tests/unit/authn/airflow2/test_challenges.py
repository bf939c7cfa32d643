"""What an Airflow 2 module says beside its refusal reaches the client."""

from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, Response

from compat_auth.authn.airflow2.backend import LegacyBackend
from compat_auth.authn.chain import Chain
from compat_auth.credentials import Absent, Credential, Unrecognised
from compat_auth.outcome import Reject, Skip


def start(_app: Flask) -> None:
    pass


def refuse(_function: Any) -> Any:
    return lambda: Response("Unauthorized", 401, {"WWW-Authenticate": 'ApiKey realm="site"'})


@pytest.mark.parametrize(("credential", "outcome"), [(Unrecognised("ApiKey"), Reject), (Absent(), Skip)])
def test_a_module_s_own_challenge_is_in_the_401_whether_a_credential_was_wrong_or_missing(
    credential: Credential, outcome: type
) -> None:
    module: Any = SimpleNamespace(init_app=start, requires_authentication=refuse)
    chain = Chain((LegacyBackend(module, "site"),))

    with Flask("test").test_request_context():
        answer = chain.ask(credential)

    assert isinstance(answer.outcome, outcome)
    assert answer.challenges == ('ApiKey realm="site"',)
