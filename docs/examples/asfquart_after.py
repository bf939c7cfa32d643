from quart import Quart

from compat_auth.asgi import CompatAuth, auth, session

R = auth.Requirements
APP = Quart("reports")
APP.config["COMPAT_AUTH"] = {
    "auth_backends": ["session", "token_handler", "basic_auth"],
    "session": {"secret": "change me: the output of openssl rand"},
    "basic_auth": {"directories": ["htpasswd"]},
    "htpasswd": {"file": "users.htpasswd"},
}
CompatAuth(APP)

SESSIONS = {
    "abcdefg": {
        "uid": "release-bot",
        "fullname": "Release Bot",
        "roleaccount": True,
        "pmcs": ["httpd", "tomcat"],
        "metadata": {"scope": ["scopeA", "scopeB"]},
    },
}


async def token_handler(token):
    return SESSIONS.get(token)


APP.token_handler = token_handler


@APP.route("/secret")
@auth.require  # Any session
async def secret():
    found = await session.read(expiry_time=24 * 3600)
    return {"uid": found.uid, "fullname": found.fullname, "committees": found.committees, "isRole": found.isRole}


@APP.route("/members")
@auth.require({R.mfa_enabled, R.member})
async def members():
    return "For members with a second factor."


@APP.route("/some")
@auth.require(all_of=R.committer, any_of={R.chair, R.roleacct, R.root})
async def some():
    return "For chairs, role accounts and root."


@APP.route("/scoped")
@auth.require
async def scoped():
    found = await session.read()
    if "scopeA" not in found.metadata.get("scope", []):
        raise auth.AuthenticationFailed("Your token does not have the required scope for this endpoint")
    return "For tokens with scopeA."


@APP.route("/visits")
@auth.require
async def visits():
    found = await session.read()
    found["visits"] = found.get("visits", 0) + 1
    session.write(found)
    return str(found["visits"])


@APP.route("/leave")
async def leave():
    session.clear()
    return "Goodbye!"
