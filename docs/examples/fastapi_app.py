from typing import Annotated

from fastapi import Depends, FastAPI

from compat_auth.asgi import CompatAuth, caller
from compat_auth.identity import Identity

app = FastAPI()
settings = {
    "auth_backends": ["basic_auth"],
    "basic_auth": {"directories": ["htpasswd"], "realm": "Reports"},
    "htpasswd": {"file": "users.htpasswd"},
}
CompatAuth(app, settings)


@app.get("/reports/{number}")
async def report(number: int, reader: Annotated[Identity, Depends(caller())]) -> dict[str, object]:
    return {"number": number, "reader": reader.username}


@app.get("/admin")
async def admin(who: Annotated[Identity, Depends(caller(any_of="role:Admin"))]) -> str:
    return who.username
