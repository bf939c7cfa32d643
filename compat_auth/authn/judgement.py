"""Who Flask's current request comes from: the one way to ask the chain from a view, and to leave a line in the audit log.

Behind a gate the gate has decided already, with its bounds and its memory, and has left its line: then its word counts,
and the chain is not asked again. Anywhere else the chain is asked here.
"""

from __future__ import annotations

from dataclasses import replace

import flask

from compat_auth.authn.chain import Chain
from compat_auth.credentials import Credential
from compat_auth.errors import CompatAuthError
from compat_auth.guard import JUDGED, recorded
from compat_auth.outcome import Outcome, Reject, Skip


def judge(chain: Chain, credential: Credential) -> Outcome:
    """Return the deciding answer about the current request, with the challenges for a 401.

    Raises:
        CompatAuthError: See `Chain.ask`.
    """
    judged: Outcome | CompatAuthError | None = flask.request.environ.get(JUDGED)
    if isinstance(judged, CompatAuthError):
        raise judged
    if judged is not None:
        return judged
    return recorded(lambda: _ask(chain, credential), credential)


def _ask(chain: Chain, credential: Credential) -> tuple[Outcome, str]:
    answer = chain.ask(credential)
    outcome = answer.outcome
    match outcome:
        case Skip():
            return Skip(answer.challenges), answer.backend
        case Reject():
            return replace(outcome, challenges=answer.challenges), answer.backend
        case _:
            return outcome, answer.backend
