"""Real OpenLDAP servers: groups, lock-out, StartTLS and ldaps; two of them hold the same users."""

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pytest

from compat_auth.config import LdapSettings
from support.peers.authority import Authority, Signed
from support.peers.process import Process, free_port

START_S = 20
SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"
SERVICE = f"cn=service,{SUFFIX}"
SERVICE_PASSWORD = "service-pässwörd"
ADMIN = f"cn=admin,{SUFFIX}"
ADMIN_PASSWORD = "admin-password"
MAX_FAILURES = 5
LOCKED_S = 5  # the last guess and the right password come within it, on a busy machine, too
EXPIRED_AFTER_S = 2.1
# Name to password. Names that are an attack, not ASCII, or spelled with capitals.
USERS = {
    "alice": "wonder:land",
    "bob": "builder",
    "Dora": "explorer",
    "jürgen": "pässwörd",
    "carol*(x)": "carol",
    "back\\slash": "slash",
    "twin1": "twin",
    "twin2": "twin",
    "disabled": "disabled",
    "locked": "locked",
    "expired": "expired",
    "grace": "grace",
    "reset": "reset",
    "lockout": "lockout",
}
_ATTRIBUTES = {
    "twin1": {"mail": "twins@example.org"},
    "twin2": {"mail": "twins@example.org"},
    "disabled": {"employeeType": "disabled"},
    "expired": {"pwdPolicySubentry": f"cn=short,ou=policies,{SUFFIX}"},
    "grace": {"pwdPolicySubentry": f"cn=grace,ou=policies,{SUFFIX}"},
    "reset": {"pwdPolicySubentry": f"cn=reset,ou=policies,{SUFFIX}"},
}
_POLICIES = {
    "default": {"pwdMaxFailure": str(MAX_FAILURES), "pwdLockoutDuration": str(LOCKED_S)},
    "short": {"pwdMaxAge": "1"},
    "grace": {"pwdMaxAge": "1", "pwdGraceAuthNLimit": "100"},
    "reset": {"pwdMustChange": "TRUE"},
}
_MEMBERS = {"admins": ["alice", "carol*(x)"], "staff": ["alice", "bob", "jürgen", "Dora"]}


class Slapd:
    """One server with its own data and ports; it keeps both over a restart.

    Attributes:
        url: ldap://, which takes StartTLS.
        tls_url: ldaps://.
        ca_file: Certificate of the authority that has signed the server's.
        process: The running server.
    """

    def __init__(self, folder: Path, authority: Authority, signed: Signed, *, requires_tls: bool = False) -> None:
        self._folder = folder
        self.ca_file = authority.ca_file
        port, tls_port = free_port(), free_port()
        self.url = f"ldap://127.0.0.1:{port}"
        self.tls_url = f"ldaps://127.0.0.1:{tls_port}"
        self._local_url = f"ldapi://{quote(str(folder / 'ldapi'), safe='')}"
        self.process = Process("slapd", folder / "log")
        (folder / "data").mkdir()
        (folder / "slapd.conf").write_text(_config(folder, authority, signed, requires_tls=requires_tls))
        self._filled = False

    def start(self) -> None:
        """Start the server on the same ports and data as before."""
        command = [_program("slapd"), "-f", str(self._folder / "slapd.conf"), "-d", "0", "-h"]
        self.process.start(
            [*command, f"{self.url}/ {self.tls_url}/ {self._local_url}/"],
            env={"PATH": os.defpath},
            is_ready=self._answers,
            timeout_s=START_S,
        )
        if not self._filled:
            self.apply(_tree())
            self._filled = True
            # So that whose password lasts a second has an expired one.
            time.sleep(EXPIRED_AFTER_S)

    def stop(self) -> None:
        """Stop the server at once; the data stays."""
        self.process.stop()

    @contextmanager
    def stopped(self) -> Generator[None, None, None]:
        """Stop the server and start it again when the block ends."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def apply(self, ldif: str) -> None:
        """Change entries, by OpenLDAP's own client, as the administrator."""
        command = [_program("ldapmodify"), "-a", "-x", "-H", self._local_url, "-D", ADMIN, "-w", ADMIN_PASSWORD]
        done = subprocess.run(
            command, input=ldif, text=True, encoding="utf-8", capture_output=True, check=False, timeout=START_S
        )
        if done.returncode:
            pytest.fail(f"ldapmodify ended with {done.returncode}: {done.stderr}", pytrace=False)

    def settings(self, **changed: Any) -> LdapSettings:
        """Return settings that let alice in with the role Admin, by StartTLS, unless changed."""
        return LdapSettings.model_validate(
            {
                "url": [self.url],
                "ca_file": str(self.ca_file),
                "bind_dn": SERVICE,
                "bind_password": SERVICE_PASSWORD,
                "base": PEOPLE,
                "member_of": "memberOf",
                "roles": {f"CN=Admins, ou=groups,{SUFFIX}": "Admin", f"cn=staff,{GROUPS}": "Viewer, User"},
                "disabled_filter": "(|(employeeType=disabled)(pwdAccountLockedTime=000001010000Z))",
                "timeout_s": 3,
                **changed,
            }
        )

    def _answers(self) -> bool:
        asked = [_program("ldapwhoami"), "-x", "-H", self._local_url]
        return subprocess.call(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def dn_of(name: str) -> str:
    """Return the DN of a user (RFC 4514 section 2.4)."""
    return f"uid={name.translate({ord(char): chr(92) + char for char in chr(92) + ',+'})},{PEOPLE}"


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        pytest.fail("the peer OpenLDAP is not installed; run: apt-get install slapd ldap-utils", pytrace=False)
    return found


def _config(folder: Path, authority: Authority, signed: Signed, *, requires_tls: bool) -> str:
    schema = next((path for path in (Path("/etc/ldap/schema"), Path("/etc/openldap/schema")) if path.is_dir()), None)
    if schema is None:
        pytest.fail("OpenLDAP's schema files are not where Debian and Fedora have them", pytrace=False)
    return f"""include {schema}/core.schema
include {schema}/cosine.schema
include {schema}/inetorgperson.schema
modulepath /usr/lib/ldap:/usr/lib64/openldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
TLSCACertificateFile {authority.ca_file}
TLSCertificateFile {signed.certificate}
TLSCertificateKeyFile {signed.key}
localSSF 256
{"security simple_bind=128" if requires_tls else ""}
threads 8
database mdb
maxsize 33554432
suffix "{SUFFIX}"
rootdn "{ADMIN}"
rootpw {ADMIN_PASSWORD}
directory {folder}/data
index objectClass,uid,cn,member,memberOf,mail eq
overlay memberof
overlay ppolicy
ppolicy_default "cn=default,ou=policies,{SUFFIX}"
ppolicy_use_lockout
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{SERVICE}" read by anonymous auth by * none
"""


def _tree() -> str:
    top = {"objectClass": ["dcObject", "organization"], "o": "example", "dc": "example"}
    entries = [_entry(SUFFIX, top)]
    entries += [
        _entry(f"ou={unit},{SUFFIX}", {"objectClass": "organizationalUnit", "ou": unit})
        for unit in ("people", "groups", "policies")
    ]
    entries += [
        _entry(
            f"cn={name},ou=policies,{SUFFIX}",
            {"objectClass": ["pwdPolicy", "device"], "cn": name, "pwdAttribute": "userPassword", "pwdLockout": "TRUE"}
            | policy,
        )
        for name, policy in _POLICIES.items()
    ]
    service = {"objectClass": ["simpleSecurityObject", "organizationalRole"], "cn": "service"}
    entries.append(_entry(SERVICE, service | {"userPassword": SERVICE_PASSWORD}))
    for name, password in USERS.items():
        person = {"objectClass": "inetOrgPerson", "uid": name, "cn": name, "sn": "Test", "userPassword": password}
        mail = f"{name}@example.org" if name.isalnum() and name.isascii() else ""
        entries.append(_entry(dn_of(name), person | ({"mail": mail} if mail else {}) | _ATTRIBUTES.get(name, {})))
    two = {"objectClass": "inetOrgPerson", "uid": ["two", "zwei"], "cn": "two", "sn": "Test", "userPassword": "two"}
    entries.append(_entry(f"cn=two,{PEOPLE}", two))
    ada = {"objectClass": "inetOrgPerson", "uid": ["lovelace", "Ada", "gräfin"], "cn": "Ada", "sn": "Test"}
    entries.append(_entry(dn_of("ada"), ada | {"userPassword": "engine"}))
    entries += [
        _entry(
            f"cn={name},{GROUPS}",
            {"objectClass": "groupOfNames", "cn": name, "member": [dn_of(one) for one in members]},
        )
        for name, members in _MEMBERS.items()
    ]
    entries.append(_change(dn_of("locked"), "pwdAccountLockedTime", "000001010000Z"))
    entries.append(_change(dn_of("reset"), "pwdReset", "TRUE"))
    return "\n".join(entries)


def _entry(dn: str, attributes: dict[str, Any]) -> str:
    lines = [_line("dn", dn)]
    for name, value in attributes.items():
        values = cast("list[object]", value) if isinstance(value, list) else [value]
        lines += [_line(name, one) for one in values]
    return "\n".join(lines) + "\n"


def _change(dn: str, attribute: str, value: str) -> str:
    return f"{_line('dn', dn)}\nchangetype: modify\nadd: {attribute}\n{_line(attribute, value)}\n"


def _line(name: str, value: object) -> str:
    # Base64 (RFC 2849) takes any name and password.
    return f"{name}:: {base64.b64encode(str(value).encode()).decode()}"
