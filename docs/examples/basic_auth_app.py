from flask import Flask
from flask_login import current_user

from compat_auth_backends import basic_auth

app = Flask(__name__)
app.config["COMPAT_AUTH"] = {"basic_auth": {"directories": ["htpasswd"]}, "htpasswd": {"file": "users.htpasswd"}}
basic_auth.init_app(app)
app.get("/")(basic_auth.requires_authentication(lambda: current_user.username))
