from flask import Flask
from flask_login import LoginManager, UserMixin, current_user, login_user

from compat_auth_backends import session

app = Flask(__name__)
app.secret_key = "change me"
session.init_app(app)
user = UserMixin()
user.id = "alice"
LoginManager(app).user_loader(lambda _id: user)
app.post("/login", endpoint="login")(lambda: str(login_user(user)))
app.get("/", endpoint="index")(session.requires_authentication(lambda: f"{current_user.get_id()}"))
