from quart import Quart

from compat_auth.asgi import CompatAuth, current_identity, require, session

APP = Quart(__name__)
APP.config["COMPAT_AUTH"] = {"auth_backends": ["token_handler"]}
CompatAuth(APP)


async def find_session(token: str) -> dict[str, object] | None:
    if token == "5d5b":
        return {"uid": "release-bot", "fullname": "Release Bot", "metadata": {"scope": ["scopeA", "scopeB"]}}
    return None


APP.token_handler = find_session


@APP.get("/")
@require
async def show() -> dict[str, object]:
    found = await session.read(expiry_time=24 * 3600)
    return {"name": current_identity.username, "session": found}


@APP.get("/admin")
@require(any_of=["scope:admin"])
async def admin() -> str:
    return "admin"
