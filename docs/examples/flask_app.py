from flask import Flask, jsonify
from flask.typing import ResponseReturnValue

from compat_auth.extension import CompatAuth, current_identity, requires_authentication

app = Flask(__name__)
app.config["COMPAT_AUTH"] = {
    "auth_backends": ["basic_auth"],
    "basic_auth": {"directories": ["htpasswd"], "realm": "Reports"},
    "htpasswd": {"file": "users.htpasswd"},
}
CompatAuth(app)


@app.get("/")
def welcome() -> ResponseReturnValue:
    return "Everybody may read this."


@app.get("/reports")
@requires_authentication
def reports() -> ResponseReturnValue:
    return jsonify(reader=current_identity.username)
