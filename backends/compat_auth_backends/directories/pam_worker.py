"""A separate process that asks Linux-PAM, one check at a time. Imports the standard library only.

Modules of PAM block, sleep two seconds after a wrong password, keep process-wide state, and may crash: so they run
here, where that harms nobody else. Standard input carries one JSON object a line, and so does standard output::

    {"user": "alice", "password": "…", "host": "192.0.2.1"}
    {"code": 0, "user": "alice"}

It uses ctypes rather than python-pam or pamela. Neither of them can read service files from a chosen folder, or set
PAM_RHOST when it authenticates, which pam_access and pam_faillock need. python-pam needs Python 3.11, and pamela
answers a module's information message through a null pointer.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_void_p, cast, sizeof
from typing import IO, Any

# Linux-PAM's <security/_pam_types.h>.
PAM_SUCCESS = 0
PAM_BUF_ERR = 5
PAM_CONV_ERR = 19
_PAM_PROMPT_ECHO_OFF = 1
_PAM_ERROR_MSG = 3
_PAM_TEXT_INFO = 4
_PAM_USER = 2
_PAM_RHOST = 4
_PAM_DISALLOW_NULL_AUTHTOK = 0x1
_PAM_SILENT = 0x8000
_PAM_MAX_NUM_MSG = 32
LIBRARY = "libpam.so.0"


class _Message(Structure):
    _fields_ = (("style", c_int), ("text", c_char_p))


class _Response(Structure):
    _fields_ = (("text", c_void_p), ("code", c_int))


_TALK = CFUNCTYPE(c_int, c_int, POINTER(POINTER(_Message)), POINTER(POINTER(_Response)), c_void_p)


class _Conversation(Structure):
    _fields_ = (("talk", _TALK), ("data", c_void_p))


def load_library() -> ctypes.CDLL:
    """Return Linux-PAM.

    Raises:
        OSError: It is not installed.
    """
    pam = ctypes.CDLL(LIBRARY)
    pam.pam_start.argtypes = [c_char_p, c_char_p, POINTER(_Conversation), POINTER(c_void_p)]
    if has_folders(pam):
        pam.pam_start_confdir.argtypes = [c_char_p, c_char_p, POINTER(_Conversation), c_char_p, POINTER(c_void_p)]
    pam.pam_set_item.argtypes = [c_void_p, c_int, c_char_p]
    pam.pam_get_item.argtypes = [c_void_p, c_int, POINTER(c_void_p)]
    for name in ("pam_authenticate", "pam_acct_mgmt", "pam_end"):
        getattr(pam, name).argtypes = [c_void_p, c_int]
    return pam


def has_folders(pam: ctypes.CDLL) -> bool:
    """Return whether this Linux-PAM reads service files from any folder (1.4 and newer)."""
    return hasattr(pam, "pam_start_confdir")


def ask(pam: ctypes.CDLL, service: str, confdir: str, user: str, password: str, host: str) -> tuple[int, str]:
    """Authenticate a user and ask whether the account may be used; return PAM's code and the user that PAM names.

    The user is "" if the password was not accepted.

    Args:
        pam: From `load_library`.
        service: Name of the service file.
        confdir: Its folder, or "" for the system's.
        user: Without NUL.
        password: Without NUL.
        host: PAM_RHOST, or "" if it is unknown.
    """
    handle = c_void_p()
    # Held until the end: PAM calls back through it.
    conversation = _Conversation(_TALK(_answering(password)), None)
    names = (service.encode(), user.encode())
    if confdir:
        code = pam.pam_start_confdir(*names, byref(conversation), os.fsencode(confdir), byref(handle))
    else:
        code = pam.pam_start(*names, byref(conversation), byref(handle))
    if code != PAM_SUCCESS:
        return int(code), ""
    named = ""
    try:
        if host:
            code = pam.pam_set_item(handle, _PAM_RHOST, host.encode())
        flags = _PAM_DISALLOW_NULL_AUTHTOK | _PAM_SILENT
        code = code or pam.pam_authenticate(handle, flags)
        if code == PAM_SUCCESS:
            item = c_void_p()
            code = pam.pam_get_item(handle, _PAM_USER, byref(item))
            named = (cast(item, c_char_p).value or b"").decode(errors="replace")
            # What PAM says of the account, it says of somebody whose password is right.
            code = code or pam.pam_acct_mgmt(handle, flags)
    finally:
        pam.pam_end(handle, code)
    return int(code), named


def _answering(password: str) -> Any:
    libc = ctypes.CDLL(None)
    libc.calloc.restype = libc.strdup.restype = c_void_p
    libc.calloc.argtypes, libc.strdup.argtypes = [c_size_t, c_size_t], [c_char_p]
    secret = password.encode()

    def talk(count: int, messages: Any, responses: Any, _data: Any) -> int:
        if not 0 < count <= _PAM_MAX_NUM_MSG:
            return PAM_CONV_ERR
        styles = [messages[number].contents.style for number in range(count)]
        # A visible prompt asks for something else than the password: nobody is there to give it.
        if not set(styles) <= {_PAM_PROMPT_ECHO_OFF, _PAM_ERROR_MSG, _PAM_TEXT_INFO}:
            return PAM_CONV_ERR
        # PAM frees both the array and the texts.
        space = libc.calloc(count, sizeof(_Response))
        if not space:
            return PAM_BUF_ERR
        answers = cast(space, POINTER(_Response))
        for number, style in enumerate(styles):
            if style == _PAM_PROMPT_ECHO_OFF:
                answers[number].text = libc.strdup(secret)
        responses[0] = answers
        return PAM_SUCCESS

    return talk


def serve(questions: IO[str], answers: IO[str], service: str, confdir: str) -> None:
    """Answer each question until there are no more."""
    pam = load_library()
    for line in questions:
        question: dict[str, str] = json.loads(line)
        code, user = ask(pam, service, confdir, question["user"], question["password"], question["host"])
        answers.write(json.dumps({"code": code, "user": user}) + "\n")
        answers.flush()


def main() -> None:
    """Serve on the standard streams, which PAM's modules and their children then no longer have."""
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    serve(questions, answers, *sys.argv[1:])


if __name__ == "__main__":
    main()
