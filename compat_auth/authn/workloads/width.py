"""Rules that let in more than their author may have meant: nothing is refused, `compat-auth check` says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from compat_auth.authn.workloads.conditions import ClaimCondition, written
from compat_auth.authn.workloads.patterns import ClaimPattern
from compat_auth.authn.workloads.platforms import AWS_CLAIM, KUBERNETES_CLAIM, Platform, platform_of
from compat_auth.authn.workloads.rules import WorkloadRule

# What platforms write into a token that nobody named an audience for, or that is meant for a cloud: such tokens are
# shown to others.
_SHARED = re.compile(
    r"https://github\.com/|https://gitlab\.com/?\Z|https://kubernetes\.default|sts\.amazonaws\.com\Z|api://AzureADTokenExchange\Z"
    r"|https?://iam\.googleapis\.com/|//iam\.googleapis\.com/|sigstore\Z|vault\Z|https://vault"
)
_GITHUB_REST = re.compile(r"^repo:[^:]+:(.*)\Z")
_GITLAB_REST = re.compile(r"^project_path:[^:]+:(.*)\Z")


def widths_of(rule: WorkloadRule) -> Iterator[str]:
    """Yield what a rule leaves open, each with the next step: "WHAT; NEXT STEP"."""
    for audience in rule.audience:
        if audience.rstrip("/") == rule.issuer.rstrip("/") or _SHARED.match(audience):
            yield (
                f"audience {audience}: tokens for it are shown to other services, which could show them here; ask the "
                "platform for tokens with an audience of this gateway's own"
            )
    sub = rule.claims.get("sub")
    names = {condition.path[0] for condition in rule.conditions}
    platform = platform_of(rule.issuer, names, "" if sub is None else sub.wanted)
    yield from _WIDTHS[platform]({condition.name: _narrowest(condition) for condition in rule.conditions})


def _narrowest(condition: ClaimCondition) -> ClaimPattern:
    return next((pattern for pattern in condition.patterns if not pattern.has_wildcard), condition.patterns[0])


def _kubernetes(claims: Mapping[str, ClaimPattern]) -> Iterator[str]:
    namespace, name, uid = (
        written((KUBERNETES_CLAIM, *path))
        for path in (("namespace",), ("serviceaccount", "name"), ("serviceaccount", "uid"))
    )
    if _is_exact(claims, uid) or (_is_exact(claims, namespace) and _is_exact(claims, name)):
        return
    if "sub" in claims:
        yield from _one_subject(claims)
    elif not any(_is_exact(claims, written((KUBERNETES_CLAIM, owner, "uid"))) for owner in ("pod", "node")):
        yield f"{namespace}: every service account of the namespace, also later ones; add {name}"


def _aws(claims: Mapping[str, ClaimPattern]) -> Iterator[str]:
    if not _is_exact(claims, written((AWS_CLAIM, "principal_id"))):
        yield from _one_subject(claims)


def _entra(claims: Mapping[str, ClaimPattern]) -> Iterator[str]:
    yield from _one_claim(claims)
    if "roles" in claims and not any(_is_exact(claims, name) for name in ("sub", "oid", "appid", "azp")):
        yield "roles: every application that has the role, also later ones; add oid or azp to name one"


def _one_subject(claims: Mapping[str, ClaimPattern]) -> Iterator[str]:
    if not _is_exact(claims, "sub"):
        yield "sub: everything that the wildcard covers, also what is made later; name one"


def _unknown_platform(claims: Mapping[str, ClaimPattern]) -> Iterator[str]:
    yield from _one_claim(claims)
    if not any(name == "sub" or name.rstrip('"').lower().endswith("id") for name in claims):
        yield (
            "claims: neither sub nor an id, so that others whom the issuer serves may have the same values; add sub, or the "
            "id of an organisation or project"
        )


def _one_claim(claims: Mapping[str, ClaimPattern]) -> Iterator[str]:
    if all(pattern.has_wildcard for pattern in claims.values()):
        yield "claims: each has a wildcard, so nothing names one workload; write one of them without"


def _github(claims: Mapping[str, ClaimPattern]) -> Iterator[str]:
    sub = claims.get("sub")
    repository = _is_exact(claims, "repository_id") or _is_exact(claims, "repository")
    if sub is not None and not repository:
        repository = re.match(r"^repo:[^:*]+:", sub.beginning) is not None or "repository_id:" in sub.beginning
    if not repository:
        yield "claims: every repository of the organisation matches, also later ones; add repository_id"
    elif not _is_exact(claims, "repository_id"):
        yield (
            "claims: a repository that is renamed or deleted leaves its name to the next; add repository_id, which no other "
            "repository ever gets"
        )
    if not (
        _names_part(claims, _GITHUB_REST)
        or _narrows(claims, ("environment", "ref", "job_workflow_ref", "workflow_ref"))
    ):
        yield "claims: every branch and tag matches, and so all who may push one; add environment, or ref"


def _gitlab(claims: Mapping[str, ClaimPattern]) -> Iterator[str]:
    sub = claims.get("sub")
    project = _is_exact(claims, "project_id") or _is_exact(claims, "project_path")
    if sub is not None and not project:
        project = re.match(r"^project_path:[^:*]+:", sub.beginning) is not None
    if not project:
        yield "claims: every project of the group matches, also later ones; add project_id"
    elif not _is_exact(claims, "project_id"):
        yield (
            "claims: a project that is renamed or deleted leaves its path to the next; add project_id, which no other "
            "project ever gets"
        )
    protected = any(
        str(claims[name].wanted) == "true" for name in ("ref_protected", "environment_protected") if name in claims
    )
    if not protected:
        if not (_names_part(claims, _GITLAB_REST) or _narrows(claims, ("environment", "ref"))):
            yield 'claims: every branch and tag matches, and so all who may push one; add ref, and ref_protected = "true"'
        elif "environment" not in claims:
            yield 'claims: everybody who may push to the project may make a branch of that name; add ref_protected = "true"'


def _google(claims: Mapping[str, ClaimPattern]) -> Iterator[str]:
    if _is_exact(claims, "sub"):
        return
    email = claims.get("email")
    if email is None:
        yield "google: every service account on these machines, also later ones; add sub, the number of one"
    elif email.has_wildcard:
        yield "email: every service account of the project, also later ones; name one"
    else:
        yield "email: an account that is deleted leaves its address to the next; add sub, its number"


def _is_exact(claims: Mapping[str, ClaimPattern], name: str) -> bool:
    return name in claims and not claims[name].has_wildcard


def _narrows(claims: Mapping[str, ClaimPattern], names: tuple[str, ...]) -> bool:
    """Return whether one of the claims is more than a wildcard behind the words that every value begins with."""
    for name in names:
        if name in claims:
            text = str(claims[name].wanted).removeprefix("refs/").removeprefix("heads/").removeprefix("tags/")
            # Of a workflow's reference, what follows the at sign is the branch.
            if text.rpartition("@")[2].strip("*/"):
                return True
    return False


def _names_part(claims: Mapping[str, ClaimPattern], rest_of: re.Pattern[str]) -> bool:
    """Return whether the subject says more than the repository: a branch, a tag or an environment."""
    found = rest_of.match(str(claims["sub"].wanted)) if "sub" in claims else None
    if found is None:
        return False
    words = re.sub(r"\*|refs/(heads|tags)/|ref_type|branch|tag|ref|environment|[:/]", "", found[1])
    return words != ""


_WIDTHS: Mapping[Platform, Callable[[Mapping[str, ClaimPattern]], Iterator[str]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "kubernetes": _kubernetes,
    "aws": _aws,
    "google": _google,
    "entra": _entra,
    "": _unknown_platform,
}
