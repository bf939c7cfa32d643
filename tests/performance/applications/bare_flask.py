"""The least that Flask can answer."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def answer() -> tuple[str, int]:
    return "", 204
