"""The rules of `[[workloads]]`: which are wider than they may be meant, and whose account is not there."""

from __future__ import annotations

from collections.abc import Iterator

from compat_auth.authn.workloads.doubts import doubts_of
from compat_auth.authn.workloads.rules import WorkloadRule, read_rules
from compat_auth.authn.workloads.width import widths_of
from compat_auth.cli.diagnosis.finding import Finding
from compat_auth.config import Settings
from compat_auth.errors import CompatAuthError, ConfigError, NoSuchUser
from compat_auth.personal_tokens.owners import Accounts


def examine_workloads(settings: Settings) -> Iterator[Finding]:
    """Yield what is to be said of each rule, once the backends could be built."""
    if not settings.workloads:
        return
    if "workload" not in settings.auth_backends:
        problem = "auth_backends: workload is not in it, so that no [[workloads]] rule is looked at; add it"
        yield Finding("workloads", problem, ConfigError.exit_code)
        return
    accounts = Accounts.from_settings(settings)
    for place, rule in enumerate(read_rules(settings.workloads)):
        where = f"workloads[{place}]"
        yield from (Finding("workloads", warning=f"{where}.{width}") for width in widths_of(rule))
        yield from (Finding("workloads", warning=f"{where}.claims.{doubt}") for doubt in doubts_of(rule.conditions))
        yield _account(accounts, rule, where)


def _account(accounts: Accounts, rule: WorkloadRule, where: str) -> Finding:
    try:
        found = accounts.find(rule.account)
    except NoSuchUser as error:
        problem = (
            f"{where}.account: {error}; name an active user, or run: compat-auth users add {rule.account} --role-account "
            "--group GROUP"
        )
        return Finding("workloads", problem, ConfigError.exit_code)
    except CompatAuthError as error:
        return Finding("workloads", str(error), error.exit_code)
    kind = "the role account" if found.role_account else f"the user, known to {found.directory},"
    return Finding("workloads", detail=f"{rule.name}: acts as {kind} {rule.account}")
