"""Says as JSON who the caller is, and describes our endpoints: in a Flask app that has no gate in front of it."""

from __future__ import annotations

import flask
from flask import Blueprint, Flask, Response

from compat_auth.api.openapi import describe
from compat_auth.authn.judgement import Judgement
from compat_auth.guard import current_identity, guard_view
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.identity import content_of

BLUEPRINT = "compat_auth_whoami"


def register_whoami(app: Flask, prefix: str, judgement: Judgement, style: ErrorStyle) -> None:
    """Serve `whoami` and `openapi.json` below the prefix; calling it twice is harmless."""
    if BLUEPRINT in app.blueprints:
        return
    made = Blueprint(BLUEPRINT, __name__, static_folder=None)

    def show_caller() -> Response:
        return flask.make_response(content_of(current_identity))

    def show_document() -> Response:
        # A rule's parameter, such as a token's id, stands behind what is answered.
        answered = {rule.rule.partition("<")[0] for rule in app.url_map.iter_rules() if rule.rule.startswith(prefix)}
        return flask.make_response(describe(prefix, answered, root=flask.request.script_root))

    # Whatever its scopes are, a credential may ask whose it is.
    guarded = guard_view(judgement.judge, judgement.chain.challenges, show_caller, lambda: style, for_every_scope=True)
    made.add_url_rule("/whoami", "whoami", guarded, methods=["GET"])
    made.add_url_rule("/openapi.json", "openapi", show_document, methods=["GET"])
    made.after_request(_no_store)
    app.register_blueprint(made, url_prefix=prefix.rstrip("/"))


def _no_store(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
