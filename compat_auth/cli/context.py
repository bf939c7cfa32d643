"""Shared by all commands: the audit entry of a change, the `--config` option, logging, and the token service.

Nobody keeps the output of a terminal, so the audit entry goes to the system's log, like those of sudo and useradd;
without a system log, as in most containers, to standard error.
"""

from __future__ import annotations

import importlib
import logging
import os
import pwd
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from logging.handlers import SysLogHandler
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from compat_auth import audit
from compat_auth.audit.lines import LogFormat, lines_of
from compat_auth.audit.losses import LogHandler
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.config import Settings, load_settings
from compat_auth.errors import CompatAuthError, InvalidValue
from compat_auth.personal_tokens.service import PersonalTokens
from compat_auth.store.tables.denylist import DenylistRows
from compat_auth.tokens.denylist import Denylist
from compat_auth.tokens.strategies import build_strategy

SYSTEM_LOG = "/dev/log"
_BACKEND = "command line"


def record(result: str, about: str, *, command: str) -> None:
    """Write one audit entry.

    Args:
        result: The change, such as "token created".
        about: The changed object; never a secret.
        command: The command, as typed after `compat-auth`.
    """
    handler = _handler()
    logger = audit.logger
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    # At every log level: an operator must not silence the audit log with an environment variable.
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        audit.record(audit.AuditEvent(result, _BACKEND, operator(), about, "", f"compat-auth {command}", ""))
    finally:
        logger.level, logger.propagate = before
        logger.removeHandler(handler)
        handler.close()


def operator() -> str:
    """Return who runs this process, by its user id: anybody can set environment variables."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    # sudo sets this variable; only root could have forged it.
    behind = os.environ.get("SUDO_USER", "") if uid == 0 else ""
    return f"{name} (sudo: {behind})" if behind else name


def _handler() -> logging.Handler:
    try:
        # The handler itself does not report a missing log.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.connect(SYSTEM_LOG)
    except OSError:
        shown = logging.StreamHandler(sys.stderr)
        shown.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        return shown
    system = SysLogHandler(SYSTEM_LOG, facility=SysLogHandler.LOG_AUTHPRIV)
    system.ident = f"compat-auth[{os.getpid()}]: "
    system.append_nul = False
    return system


config_option = click.option(
    "--config", "config_path", metavar="FILE", help="TOML file; default $COMPAT_AUTH_CONFIG, else ./compat_auth.toml."
)


def start_logging(level: str = "INFO") -> None:
    """Send our log to standard error, one line per event; $COMPAT_AUTH_LOG_LEVEL sets the level."""
    chosen = os.environ.get("COMPAT_AUTH_LOG_LEVEL", level).upper()
    handler = LogHandler(sys.stderr)
    handler.setFormatter(lines_of("text"))
    logging.basicConfig(level=chosen, handlers=[handler])


def shape_log(log_format: LogFormat) -> None:
    """Write the lines of the log in this format from now on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogHandler):
            handler.setFormatter(lines_of(log_format))


def read_certificate(file: str, *, option: str) -> bytes:
    """Return the first certificate of a PEM file, as DER.

    Args:
        file: Its path.
        option: The option that names it, for the message.

    Raises:
        InvalidValue: The file cannot be read, or has no certificate in it.
    """
    try:
        first, *_ = x509.load_pem_x509_certificates(Path(file).read_bytes())
    except OSError as exc:
        raise InvalidValue(f"{option}: {file}: cannot be read ({exc.strerror}); name a PEM file") from None
    except ValueError:
        raise InvalidValue(f"{option}: {file}: no certificate in PEM; name the client's certificate") from None
    return first.public_bytes(Encoding.DER)


@contextmanager
def opened_tokens(config_path: str | None) -> Generator[PersonalTokens]:
    """Open the personal-token service of a configuration."""
    start_logging("WARNING")
    settings = load_settings(config_path)

    def revoke_upstream(credential_id: str) -> None:
        _tell_upstream(settings, tokens, credential_id)

    tokens = PersonalTokens.from_settings(
        settings, RevocationEvents.from_settings(settings), revoke_upstream=revoke_upstream
    )
    try:
        yield tokens
    finally:
        tokens.rows.database.close()


def _tell_upstream(settings: Settings, tokens: PersonalTokens, credential_id: str) -> None:
    """Revoke at the upstream the JWTs that were issued for a token; the gateways already reject them."""
    if not DenylistRows(tokens.rows.database).revoke_made_from(credential_id, int(tokens.now())):
        return
    try:
        denylist = Denylist.from_settings(settings, RevocationEvents())
        # Only where it is used: it is half of the server.
        composition = importlib.import_module("compat_auth.composition.tokens")
        composition.build_issued_tokens(settings, build_strategy(settings), denylist).revoke_session(
            tokens=(), credential_id=credential_id
        )
    except CompatAuthError as error:
        click.echo(
            f"warning: JWTs that were issued for it stay valid at the upstream itself until they expire: {error}",
            err=True,
        )
