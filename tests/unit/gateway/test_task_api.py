"""Airflow's task API never gets an identity from us, whatever the configuration protects."""

from dataclasses import replace

from compat_auth.gateway.decision import Granted
from compat_auth.http.paths import Prefixes, canonical_path
from compat_auth.identity import Identity
from support.stand_ins import rules


def test_no_spelling_of_the_task_api_gets_our_bearer() -> None:
    gate_rules = replace(rules(), protect=Prefixes(["/"]), task_api=Prefixes(["/execution/"]))
    granted = Granted(Identity("alice", "basic_auth"), b"Bearer a.b.c")

    spellings = (b"/execution/variables/x", b"/EXECUTION/x", b"/%65xecution/x", b"/execution;v=1/x", b"/execution")

    for spelling in spellings:
        assert gate_rules.bearer_for(canonical_path(spelling), granted) is None
    assert gate_rules.bearer_for(b"/api/v2/dags", granted) == b"Bearer a.b.c"
