"""FAB's own check of a user name and password, as Airflow 2's basic_auth calls it for every request.

Runs in the environment of a peer, where Flask-AppBuilder is installed.
"""

import os
from typing import Any

import flask_appbuilder  # pyright: ignore[reportMissingImports]  # only the peer has it
from flask import Flask, request
from werkzeug.security import generate_password_hash

app = Flask(__name__)
app.config["SECRET_KEY"] = os.urandom(32).hex()
app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{os.environ['FAB_DATABASE']}"
app.config["SQLALCHEMY_TRACK_MODIFICATIONS"] = False
with app.app_context():
    builder: Any = flask_appbuilder
    database: Any = builder.SQLA(app)
    security: Any = builder.AppBuilder(app, database.session).sm
    if security.find_user("user") is None:
        scrypt = generate_password_hash("correct horse", "scrypt:32768:8:1")
        role = security.add_role("Viewer")
        security.add_user("user", "Us", "Er", "user@example.org", role, hashed_password=scrypt)


@app.get("/check")
def check() -> tuple[str, int]:
    given = request.authorization
    if given is None or security.auth_user_db(given.username, given.password) is None:
        return "", 401
    return "", 204
