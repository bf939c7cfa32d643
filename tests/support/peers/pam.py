"""Real Linux-PAM with service files in a folder of their own; nothing below /etc is touched."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from compat_auth.config import PamSettings

# pam_matrix keeps them in a file that has colons between its fields.
PASSWORDS = {"alice": "wonder land", "jürgen": "pässwörd", "expired": "expired"}
MODULES = tuple(Path("/usr/lib").glob("*/pam_wrapper/pam_matrix.so")) + tuple(
    Path("/usr/lib64").glob("pam_wrapper/pam_matrix.so")
)
# What a service file of an operator may do: run scripts, which say something on standard output.
_ACCOUNT_SCRIPT = """#!/bin/sh
[ "$PAM_USER" != expired ] || exit 1
printf '%s %s\\n' "$PAM_RHOST" "$PAM_SERVICE" >>{folder}/seen
printf 'noise on standard output\\n'
"""
_PASSWORD_SCRIPT = """#!/bin/sh
read -r password
[ "$password" = "$PAM_USER-password" ]
"""


@dataclass(frozen=True, slots=True)
class Pam:
    """Services: userdb, matrix, script, slow (2 s for a no), hanging, broken, permit, empty (no database), other.

    Attributes:
        confdir: Where the service files are.
        seen: What the account script of `script` has seen: address and service, one line for each question.
    """

    confdir: Path
    seen: Path

    def settings(self, service: str, **changed: object) -> PamSettings:
        """Return settings for one of the services."""
        return PamSettings.model_validate({"service": service, "confdir": str(self.confdir), **changed})


def make_pam(folder: Path) -> Pam:
    """Return PAM with its services in the folder."""
    if not MODULES:
        pytest.fail("the peer pam_matrix is not installed; run: apt-get install libpam-wrapper", pytrace=False)
    confdir = folder / "pam.d"
    confdir.mkdir()
    _write_user_database(folder)
    (folder / "passdb").write_text("".join(f"{name}:{password}:matrix\n" for name, password in PASSWORDS.items()))
    for name, text in (("account", _ACCOUNT_SCRIPT), ("password", _PASSWORD_SCRIPT)):
        script = folder / name
        script.write_text(text.format(folder=folder))
        script.chmod(0o700)
    hang = folder / "hang"
    hang.write_text(f"#!/bin/sh\necho $$ >{folder}/hanging\nexec sleep 600\n")
    hang.chmod(0o700)
    permit = ("account required pam_permit.so",)
    services = {
        "userdb": (f"auth required pam_userdb.so db={folder}/users crypt=crypt", *permit),
        "matrix": tuple(f"{kind} required {MODULES[0]} passdb={folder}/passdb" for kind in ("auth", "account")),
        "script": (
            f"auth required pam_exec.so expose_authtok quiet {folder}/password",
            f"account required pam_exec.so stdout {folder}/account",
        ),
        "slow": ("auth optional pam_faildelay.so delay=2000000", "auth required pam_deny.so", *permit),
        "hanging": (f"auth required pam_exec.so {folder}/hang", *permit),
        "broken": ("auth required pam_of_nowhere.so", *permit),
        "permit": ("auth required pam_permit.so", *permit),
        "empty": (f"auth required pam_userdb.so db={folder}/missing crypt=crypt", *permit),
        "other": ("auth required pam_deny.so", "account required pam_deny.so"),
    }
    for name, lines in services.items():
        (confdir / name).write_text("\n".join(lines) + "\n")
    return Pam(confdir, folder / "seen")


def _write_user_database(folder: Path) -> None:
    db_load = shutil.which("db_load") or shutil.which("db5.3_load")
    if db_load is None:
        pytest.fail("the peer pam_userdb is not installed; run: apt-get install db-util", pytrace=False)
    lines: list[str] = []
    for name, password in PASSWORDS.items():
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"], input=password, text=True, capture_output=True, check=True
        )
        lines += [name, hashed.stdout.strip()]
    subprocess.run(
        [db_load, "-T", "-t", "hash", str(folder / "users.db")], input="\n".join(lines) + "\n", text=True, check=True
    )
