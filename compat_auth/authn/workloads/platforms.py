"""The tokens of known platforms: which are a person's, which jobs strangers can start, which claims name a workload."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from compat_auth.authn.workloads.patterns import ClaimPattern
from compat_auth.errors import InvalidToken

Platform = Literal["github", "gitlab", "kubernetes", "aws", "google", "entra", ""]
GOOGLE = "https://accounts.google.com"

# What the host, else the names of the claims, else the beginning of the subject says.
_HOSTS: tuple[tuple[str, Platform], ...] = (
    (r"token\.actions\.githubusercontent\.com\Z", "github"),
    (r"gitlab\.", "gitlab"),
    (r"accounts\.google\.com\Z", "google"),
    (r"(login\.microsoftonline\.(com|us)|login\.partner\.microsoftonline\.cn|sts\.windows\.net)\Z", "entra"),
    (r".+\.tokens\.sts\.global\.api\.aws\Z", "aws"),
    (r"kubernetes\.default(\.|\Z)|oidc\.eks\.[a-z0-9-]+\.amazonaws\.com\Z|container\.googleapis\.com\Z", "kubernetes"),
    (r".+\.oic\.prod-aks\.azure\.com\Z", "kubernetes"),
)
_SUBJECTS: tuple[tuple[str, Platform], ...] = (
    ("arn:aws", "aws"),
    ("system:serviceaccount:", "kubernetes"),
    ("repo:", "github"),
    ("project_path:", "gitlab"),
)
# Where the host does not tell, as of a server of one's own, these claims do.
_GITHUB_CLAIMS = frozenset(
    ("repository", "repository_id", "repository_owner", "repository_owner_id", "job_workflow_ref")
)
_GITLAB_CLAIMS = frozenset(("project_path", "namespace_path", "pipeline_source"))
KUBERNETES_CLAIM = "kubernetes.io"
AWS_CLAIM = "https://sts.amazonaws.com/"
# Started by those who may write to the repository. Anybody can open a pull request or comment on one; a workflow_run
# follows such a start.
_GITHUB_EVENTS = frozenset(
    ("push", "schedule", "workflow_dispatch", "repository_dispatch", "release", "deployment", "create", "delete")
)
# In the parent project, a merge request of a fork is one of these.
_GITLAB_SOURCES_OF_STRANGERS = frozenset(("merge_request_event", "external_pull_request_event", "external"))
# A pipeline that such a one starts below itself has another source, and still this reference.
_GITLAB_REQUEST = "refs/merge-requests/"
# Claims of a login in a browser (OpenID Connect Core 2, 3.1.3.6), or of another kind of token.
_OF_LOGINS = ("nonce", "at_hash", "c_hash", "s_hash", "sid", "events")
_GOOGLE_CLIENT = ".apps.googleusercontent.com"
_GOOGLE_ACCOUNT = ".gserviceaccount.com"
_ENTRA_OF_PERSONS = ("scp", "upn", "unique_name", "preferred_username")
# The application that asked for an access token; an ID token, which a person has, names none.
_ENTRA_APPLICATION = ("azp", "appid")

# Paths of claims that name an owner or a workload where a rule has them without a wildcard, and the other claims: how they
# have to begin.
_EXACT: Mapping[Platform, frozenset[tuple[str, ...]]] = {
    "github": frozenset(
        (name,) for name in ("repository_id", "repository_owner_id", "repository_owner", "enterprise_id", "enterprise")
    ),
    "gitlab": frozenset((name,) for name in ("project_id", "namespace_id", "namespace_path")),
    "kubernetes": frozenset(
        (
            (KUBERNETES_CLAIM, "namespace"),
            (KUBERNETES_CLAIM, "serviceaccount", "uid"),
            (KUBERNETES_CLAIM, "pod", "uid"),
            (KUBERNETES_CLAIM, "node", "uid"),
        )
    ),
    "aws": frozenset(((AWS_CLAIM, "aws_account"), (AWS_CLAIM, "org_id"))),
    "google": frozenset(
        (
            ("sub",),
            ("email",),
            ("google", "compute_engine", "project_id"),
            ("google", "compute_engine", "project_number"),
            ("google", "compute_engine", "instance_id"),
        )
    ),
    # An administrator of the tenant, which the issuer names, gives an application its roles.
    "entra": frozenset((name,) for name in ("sub", "oid", "appid", "azp", "roles")),
}
_OWNER = re.compile(r"^[^:/]+/")
_BEGINNINGS: Mapping[tuple[Platform, str], re.Pattern[str]] = {
    ("github", "repository"): _OWNER,
    ("github", "workflow_ref"): _OWNER,
    ("github", "sub"): re.compile(
        r"(?:^|:)(?:repo:[^:/]+/|(?:repository_owner|repository_owner_id|repository_id|enterprise|enterprise_id):[^:]+(?::|$))"
    ),
    ("gitlab", "project_path"): _OWNER,
    ("gitlab", "namespace_path"): _OWNER,
    ("gitlab", "sub"): re.compile(r"^project_path:[^:/]+/"),
    ("kubernetes", "sub"): re.compile(r"^system:serviceaccount:[^:/]+:"),
    ("aws", "sub"): re.compile(r"^arn:aws[a-z-]*:(?:iam|sts)::\d{12}:"),
}
_GOOGLE_PROJECT = re.compile(r"@[a-z0-9.:-]+\.iam\.gserviceaccount\.com\Z")
_WORD = re.compile(r"[^\W_]")


def platform_of(issuer: str, claims: Container[str], sub: object = "") -> Platform:
    """Return which platform an issuer is, as far as its host or the names of claims tell; "" for any other.

    Args:
        issuer: `iss`.
        claims: Names of the claims of a token, or of those that a rule looks at.
        sub: The claim, or the pattern for it.
    """
    try:
        host = urlsplit(issuer).hostname or ""
    except ValueError:
        host = ""  # an address in brackets that is none
    subject = sub if isinstance(sub, str) else ""
    found: list[Platform] = [platform for pattern, platform in _HOSTS if re.match(pattern, host)]
    if any(name in claims for name in _GITHUB_CLAIMS):
        found.append("github")
    if any(name in claims for name in _GITLAB_CLAIMS):
        found.append("gitlab")
    if KUBERNETES_CLAIM in claims:
        found.append("kubernetes")
    found.extend(platform for beginning, platform in _SUBJECTS if subject.startswith(beginning))
    return found[0] if found else ""


def require_machine(issuer: str, claims: Mapping[str, Any]) -> None:
    """Raise if a token says that it is a person's, or of a kind that does not prove an identity.

    Raises:
        InvalidToken: It says so.
    """
    for name in _OF_LOGINS:
        if name in claims:
            raise InvalidToken(f"{name}: the token of a login, or of another kind; not a workload's")
    if "cnf" in claims:
        raise InvalidToken("cnf: bound to a key of the client; not a bearer token")
    match platform_of(issuer, claims, claims.get("sub")):
        case "google":
            _require_service_account(claims)
        case "entra":
            is_persons = claims.get("idtyp", "app") != "app" or any(name in claims for name in _ENTRA_OF_PERSONS)
            if is_persons or not any(name in claims for name in _ENTRA_APPLICATION):
                raise InvalidToken("a person's token, or one in a person's name; not an application's own")
        case _:
            pass


def _require_service_account(claims: Mapping[str, Any]) -> None:
    azp, email = claims.get("azp"), claims.get("email")
    is_client = isinstance(azp, str) and azp.endswith(_GOOGLE_CLIENT)
    if "email" in claims:
        is_machine = isinstance(email, str) and email.endswith(_GOOGLE_ACCOUNT) and claims.get("email_verified") is True
    else:
        # Of a service account, Google says its number twice.
        is_machine = azp == claims.get("sub")
    if "hd" in claims or is_client or not is_machine:
        raise InvalidToken("the token of a person's Google account; not a service account's")


def stranger_in(issuer: str, claims: Mapping[str, Any], rule: Mapping[str, ClaimPattern]) -> str:
    """Return the claim that says that somebody from outside may have started the job, unless the rule looks at it; or "".

    A pull request runs in the repository that it is for, with what its author wrote.
    """
    platform = platform_of(issuer, claims, claims.get("sub"))
    if platform == "github" and "event_name" not in rule:
        names_it = "sub" in rule and str(rule["sub"].wanted).endswith(":pull_request")
        event = claims.get("event_name")
        if not names_it and not (isinstance(event, str) and event in _GITHUB_EVENTS):
            return "event_name"
    return _stranger_at_gitlab(claims, rule) if platform == "gitlab" else ""


def _stranger_at_gitlab(claims: Mapping[str, Any], rule: Mapping[str, ClaimPattern]) -> str:
    source = claims.get("pipeline_source")
    if "pipeline_source" in rule:
        if rule["pipeline_source"].wanted in _GITLAB_SOURCES_OF_STRANGERS:
            return ""
    elif not isinstance(source, str) or source in _GITLAB_SOURCES_OF_STRANGERS:
        return "pipeline_source"
    for name in ("ref_path", "ref"):
        named = str(rule[name].wanted) if name in rule else ""
        if str(claims.get(name, "")).startswith(_GITLAB_REQUEST) and not named.startswith(_GITLAB_REQUEST):
            return name
    return ""


def names_somebody(platform: Platform, path: tuple[str, ...], pattern: ClaimPattern) -> bool:
    """Return whether a pattern leaves only the workloads of one owner: of an organisation, a namespace, an account.

    Args:
        platform: Whose token it is.
        path: Names of the claim, and of members below it.
        pattern: For the claim, or for an element of its list.
    """
    if path in _EXACT.get(platform, ()) and not pattern.has_wildcard:
        return True
    if len(path) == 1 and (beginning := _BEGINNINGS.get((platform, path[0]))) is not None:
        return beginning.search(pattern.beginning) is not None
    if (platform, path) == ("google", ("email",)):
        return _GOOGLE_PROJECT.search(pattern.end) is not None
    text = pattern.wanted if isinstance(pattern.wanted, str) and not platform else ""
    return text not in ("true", "false") and _WORD.search(text.replace("*", "")) is not None
