"""Conditions that may match no token, because they are written for another kind of claim than the platforms have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from compat_auth.authn.workloads.conditions import ClaimCondition, written

# As a URL, a name has dots of its own, as in Auth0's `https://example.com/roles`; so has Kubernetes' one claim.
_DOTTED = re.compile(r"[^./:]+(?:\.[^./:]+)+\Z")
# RFC 9068 section 2.2.3.1 and RFC 7643 section 4.1.2 make these lists, and so do Entra and Keycloak.
_LISTS = frozenset(("roles", "groups", "entitlements", "wids"))


def doubts_of(conditions: Iterable[ClaimCondition]) -> Iterator[str]:
    """Yield which conditions probably match nothing, each with the next step: "NAME: WHAT; NEXT STEP"."""
    for condition in conditions:
        for place, name in enumerate(condition.path):
            below = condition.path[place + 1 :]
            if _DOTTED.match(name) and not (name == "kubernetes.io" and below):
                meant = written((*condition.path[:place], *name.split("."), *below))
                yield (
                    f"{condition.name}: in quotes, so one name that has dots; where a member of an object is meant, "
                    f"write {meant}"
                )
                break
        if condition.path[-1] in _LISTS and not condition.of_list:
            yield (
                f"{condition.name}: a list in the tokens of most issuers, which a single value never matches; write it in "
                "brackets"
            )
