from a2wsgi import WSGIMiddleware
from flask_app import app as flask_app

app = WSGIMiddleware(flask_app)
