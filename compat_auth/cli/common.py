"""What an operator changes by a command is in the audit log, as what a caller changes over HTTP is.

Nobody keeps what a command says on a terminal, so the event goes to the system's log, as those of sudo and useradd do;
where there is none, as in most containers, to standard error.
"""

from __future__ import annotations

import logging
import os
import pwd
import socket
import sys
from logging.handlers import SysLogHandler

from compat_auth import audit

SYSTEM_LOG = "/dev/log"
_BACKEND = "command line"


def record(result: str, about: str, *, command: str) -> None:
    """Leave one entry in the audit log.

    Args:
        result: What was done, such as "token created".
        about: To whom or what; never a secret.
        command: The verb, as it is typed after `compat-auth`.
    """
    handler = _handler()
    logger = audit.logger
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    # Whatever the log's level: what an operator does is not to be silenced by a variable of the operator's.
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        audit.record(audit.Verdict(result, _BACKEND, operator(), about, "", f"compat-auth {command}", ""))
    finally:
        logger.level, logger.propagate = before
        logger.removeHandler(handler)
        handler.close()


def operator() -> str:
    """Return who runs this process: by its user id, for variables say what their owner likes."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    # sudo sets this, and only who is root already could have made it up.
    behind = os.environ.get("SUDO_USER", "") if uid == 0 else ""
    return f"{name} (sudo: {behind})" if behind else name


def _handler() -> logging.Handler:
    try:
        # The handler itself keeps quiet about a log that is not there.
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
