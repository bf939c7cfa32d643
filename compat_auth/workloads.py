"""Rules for workloads: which token of a platform acts as which account."""

from __future__ import annotations

from compat_auth.authn.workloads.rules import WorkloadRule, find_rule, read_rules

__all__ = ["WorkloadRule", "find_rule", "read_rules"]
