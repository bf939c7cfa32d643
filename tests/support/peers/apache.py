"""A real Apache httpd with mod_auth_gssapi: the other party that judges the same tokens."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from pathlib import Path

import pytest

from support.peers.kerberos import SEARCH_PATH, Kdc
from support.peers.process import Process, answers_http, free_port

START_S = 20
SERVER_USER = "www-data"
MODULES = Path("/usr/lib/apache2/modules")
LOADED = ("mpm_event", "authn_core", "authz_core", "authz_user", "dir", "headers", "auth_gssapi")


class Apache:
    """One Apache whose `/krb/` wants a ticket for the keytab, and names the user in `X-Remote-User`.

    Attributes:
        url: Without a slash at the end.
        process: The server.
    """

    def __init__(self, kdc: Kdc, keytab: Path) -> None:
        program = shutil.which("apache2", path=SEARCH_PATH)
        if program is None or not (MODULES / "mod_auth_gssapi.so").is_file():
            pytest.fail(
                "the peer Apache is not installed; run: apt-get install apache2 libapache2-mod-auth-gssapi",
                pytrace=False,
            )
        self._program = program
        # Not below pytest's folders, which another user may not enter.
        self._folder = Path(tempfile.mkdtemp(prefix="compat-auth-apache-"))
        self._folder.chmod(0o755)
        port = free_port()
        self.url = f"http://localhost:{port}"
        self.process = Process("Apache", self._folder / "log")
        for name in ("krb5.conf", "keytab"):
            shutil.copy(kdc.folder / name if name == "krb5.conf" else keytab, self._folder / name)
        (self._folder / "replays").mkdir()
        (self._folder / "htdocs" / "krb").mkdir(parents=True)
        (self._folder / "htdocs" / "krb" / "index.html").write_text("in\n")
        if os.geteuid() == 0:
            owner = pwd.getpwnam(SERVER_USER)
            for name in ("keytab", "replays"):
                os.chown(self._folder / name, owner.pw_uid, owner.pw_gid)
        (self._folder / "httpd.conf").write_text(self._config(port))

    def start(self) -> None:
        """Start it and return once it answers."""
        self.process.start(
            [self._program, "-d", str(self._folder), "-f", str(self._folder / "httpd.conf"), "-D", "FOREGROUND"],
            env={
                "PATH": SEARCH_PATH,
                "KRB5_CONFIG": str(self._folder / "krb5.conf"),
                "KRB5RCACHEDIR": str(self._folder / "replays"),
            },
            is_ready=lambda: answers_http(self.url),
            timeout_s=START_S,
        )

    def remove(self) -> None:
        """Stop it and remove all of it."""
        self.process.stop()
        shutil.rmtree(self._folder)

    def _config(self, port: int) -> str:
        folder = self._folder
        modules = "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in LOADED)
        user = f"User {SERVER_USER}\nGroup {SERVER_USER}\n" if os.geteuid() == 0 else ""
        return f"""ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/pid
ErrorLog {folder}/error.log
Mutex file:{folder} default
{user}{modules}
DocumentRoot {folder}/htdocs
DirectoryIndex index.html
<Directory {folder}/htdocs>
  Require all granted
</Directory>
<Location /krb>
  AuthType GSSAPI
  AuthName lab
  GssapiCredStore keytab:{folder}/keytab
  GssapiAllowedMech krb5
  Header always set X-Remote-User expr=%{{REMOTE_USER}}
  Require valid-user
</Location>
"""
