from flask import Flask
from flask_login import current_user

from compat_auth_backends import google_openid

app = Flask(__name__)
app.config["COMPAT_AUTH"] = {"google_openid": {"audience": ["my-app"], "hosted_domains": ["example.org"]}}
google_openid.init_app(app)
app.get("/")(google_openid.requires_authentication(lambda: current_user.username))
