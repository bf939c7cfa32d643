"""What both sides serve besides the documented app: a view for each requirement, and sessions as a login would begin them."""

from collections.abc import Callable
from typing import Any

MEMBERS: dict[str, dict[str, Any]] = {
    "ana": {"uid": "ana", "fullname": "Ana", "email": "ana@example.org"},
    "member": {"uid": "member", "isMember": True},
    "mfa-member": {"uid": "mfa-member", "isMember": True, "mfa": True},
    "chair": {"uid": "chair", "isChair": True},
    "root": {"uid": "root", "isRoot": True},
    "pmc": {"uid": "pmc", "pmcs": ["httpd"], "projects": ["airflow"]},
    "committer": {"uid": "committer", "pmcs": [], "projects": ["airflow"]},
    "role": {"uid": "role", "roleaccount": True, "metadata": {"scope": ["scopeA"], "note": [1, None]}},
    "texts": {"uid": "texts", "isMember": "True", "isChair": 1, "mfa": "yes", "roleaccount": 1},
}
"""What a login, or a token handler, may say of a user."""
REQUIRED: dict[str, Callable[[Any], Any]] = {
    "committer": lambda r: r.committer,
    "member": lambda r: {r.member},
    "chair": lambda r: [r.chair],
    "root": lambda r: (r.root,),
    "pmc_member": lambda r: r.pmc_member,
    "mfa_enabled": lambda r: r.mfa_enabled,
    "roleacct": lambda r: r.roleacct,
    "mfa-and-member": lambda r: {r.mfa_enabled, r.member},
}
ALL_OF: dict[str, Callable[[Any], dict[str, Any]]] = {
    "all-of-one": lambda r: {"all_of": r.member},
    "any-of-two": lambda r: {"any_of": {r.member, r.chair}},
    "both": lambda r: {"all_of": {r.mfa_enabled}, "any_of": {r.member, r.chair}},
}
SHOWN = (
    "uid",
    "dn",
    "fullname",
    "isMember",
    "isChair",
    "isRoot",
    "committees",
    "projects",
    "mfa",
    "isRole",
    "metadata",
)
RECENT_S = 4
PATHS = ("/bare", *(f"/require/{name}" for name in (*REQUIRED, *ALL_OF)))


def add_views(app: Any, auth: Any, session: Any) -> None:
    """Add the views to an app of either side; `auth` and `session` are its words."""

    async def let_in() -> str:
        return "in"

    def add(path: str, view: Any, **more: Any) -> None:
        app.add_url_rule(path, path, view, **more)

    add("/bare", auth.require(let_in))
    for name, required in REQUIRED.items():
        add(f"/require/{name}", auth.require(required(auth.Requirements))(let_in))
    for name, keywords in ALL_OF.items():
        add(f"/require/{name}", auth.require(**keywords(auth.Requirements))(let_in))

    for path, view in views_of(auth, session).items():
        add(path, view)
    add("/plain", auth.require(lambda: "in"))
    add("/posted", auth.require(let_in), methods=["POST"])

    async def become(who: str) -> str:
        session.write(MEMBERS[who])
        return "written"

    add("/become/<who>", become, methods=["POST"])


def views_of(auth: Any, session: Any) -> dict[str, Any]:
    """Return views that nobody guards, by path."""

    async def show() -> dict[str, Any]:
        found = await session.read()
        return {} if found is None else {name: getattr(found, name) for name in SHOWN}

    async def recent() -> dict[str, Any]:
        found = await session.read(expiry_time=RECENT_S)
        return {"uid": None if found is None else found.uid}

    async def email() -> dict[str, Any]:
        found = await session.read()
        return {"email": found.email}

    async def by_hand() -> str:
        raise auth.AuthenticationFailed("Not here")

    async def busy() -> str:
        raise auth.AuthenticationFailed("Come back tomorrow", 429)

    return {"/show": show, "/recent": recent, "/email": email, "/by-hand": by_hand, "/busy": busy}
