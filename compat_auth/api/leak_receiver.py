"""The endpoint where leaked personal tokens are reported; only the configured reporter's signature is accepted."""

from __future__ import annotations

from typing import Any, cast

import flask
from flask import Blueprint, Flask, Response, request

from compat_auth import audit
from compat_auth.config import Settings
from compat_auth.errors import BodyTooLarge, CompatAuthError
from compat_auth.guard import send_rendered
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.personal_tokens.leak_reports import KEY_HEADER, SIGNATURE_HEADER, LeakReports
from compat_auth.personal_tokens.service import personal_tokens_of

BLUEPRINT = "compat_auth_leaked_tokens"
PATH = "api/leaked-tokens"
"""Below the prefix."""
MAX_BODY_BYTES = 256 * 1024


def register_leak_receiver(app: Flask, settings: Settings) -> None:
    """Accept reports in the app if `[personal_tokens] leak_keys_url` is set; calling it twice is harmless.

    Raises:
        ConfigError: The URL cannot work.
    """
    tokens = personal_tokens_of(app)
    reports = None if tokens is None else LeakReports.from_settings(tokens, settings)
    if reports is not None and BLUEPRINT not in app.blueprints:
        made = Blueprint(BLUEPRINT, __name__, static_folder=None)
        made.add_url_rule(f"/{PATH}", "report", _receiver(reports), methods=["POST"])
        made.register_error_handler(CompatAuthError, cast("Any", _show_error))
        app.register_blueprint(made, url_prefix=settings.prefix.rstrip("/"))


def _receiver(reports: LeakReports) -> Any:
    def receive() -> Response:
        body = request.stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"body: larger than {MAX_BODY_BYTES} bytes")
        headers = request.headers
        revoked = reports.take(body, key_id=headers.get(KEY_HEADER, ""), signature=headers.get(SIGNATURE_HEADER, ""))
        reason = f"{revoked} leaked token(s) revoked"
        client = request.remote_addr or ""
        audit.record(audit.AuditEvent("leak report", "", "", reason, request.method, request.path, client))
        # A reporter must not learn which tokens exist.
        return flask.make_response("", 204)

    return receive


def _show_error(error: CompatAuthError) -> Response:
    return send_rendered(ErrorStyle().render_error(error))
