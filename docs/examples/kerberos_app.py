from flask import Flask
from flask_login import current_user

from compat_auth_backends import kerberos

app = Flask(__name__)
app.config["COMPAT_AUTH"] = {"kerberos": {"keytab": "http.keytab"}}
kerberos.init_app(app)
app.get("/")(kerberos.requires_authentication(lambda: current_user.username))
