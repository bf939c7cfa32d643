"""What a view or path asks of an identity beyond being one."""

from __future__ import annotations

import pytest

from compat_auth.errors import ConfigError
from compat_auth.identity import Identity
from compat_auth.requirements import Requirements

ANA = Identity("ana", "kerberos", directory="airflow_db", roles=("Admin",), groups=("ops",), mfa=True)
BOT = Identity("bot", "personal_token", role_account=True)


@pytest.mark.parametrize(
    ("all_of", "any_of", "met"),
    [
        ((), (), True),
        (("role:Admin",), (), True),
        (("role:admin",), (), False),
        (("role:Admin", "group:dev"), (), False),
        (("mfa", "backend:kerberos", "directory:airflow_db", "user:ana"), (), True),
        ((), ("group:dev", "group:ops"), True),
        ((), ("group:dev", "role:Viewer"), False),
        (("role_account",), ("group:ops",), False),
    ],
)
def test_all_of_means_all_and_any_of_means_one(all_of: tuple[str, ...], any_of: tuple[str, ...], met: bool) -> None:
    assert Requirements(all_of, any_of).met_by(ANA) is met


def test_a_role_account_is_told_from_a_person() -> None:
    assert Requirements(("role_account",)).met_by(BOT)
    assert not Requirements(("mfa",)).met_by(BOT)


@pytest.mark.parametrize("text", ["", "role", "role:", "rolle:Admin", "mfa:yes", "Admin"])
def test_a_requirement_that_nothing_could_meet_is_a_mistake_of_the_configuration(text: str) -> None:
    with pytest.raises(ConfigError, match="write one of"):
        Requirements(any_of=(text,))
