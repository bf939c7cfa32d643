"""The keytab: its keys and their ages, and whether the KDC knows them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from compat_auth.cli.doctor.peers.clocks import describe_clock
from compat_auth.cli.doctor.peers.kdc import KdcFacts, ask_kdc
from compat_auth.cli.doctor.result import Result
from compat_auth.config import Settings
from compat_auth.crypto.keytab import KeytabEntry, read_keytab
from compat_auth.errors import ConfigError

_KEYTAB, _KDC, _CLOCK = "kerberos keytab", "kerberos KDC", "clock KDC"
_TYPES = {
    1: "des-cbc-crc", 3: "des-cbc-md5", 16: "des3-cbc-sha1", 17: "aes128-cts-hmac-sha1-96",
    18: "aes256-cts-hmac-sha1-96", 19: "aes128-cts-hmac-sha256-128", 20: "aes256-cts-hmac-sha384-192",
    23: "arcfour-hmac", 25: "camellia128-cts-cmac", 26: "camellia256-cts-cmac",
}  # fmt: skip
_WEAK = frozenset((1, 2, 3, 16, 23, 24))  # RFC 6649, RFC 8429
_DAY_S = 86_400
_MOST_PRINCIPALS = 4
# libkrb5's clockskew, and that of every KDC.
_SKEW_S = 300
_WRONG_KEY = re.compile(
    r"preauthentication failed|password incorrect|decrypt integrity check failed|key version|no key table entry|"
    r"no suitable keys",
    re.IGNORECASE,
)
_NOT_A_CLIENT = re.compile(
    r"not found in kerberos database|client.*(revoked|expired)|not allowed|policy", re.IGNORECASE
)


def examine_kerberos(settings: Settings) -> Iterator[Result]:
    """Yield results about the keytab, and about the KDC for each principal that answers for us.

    Raises:
        ConfigError: The keytab cannot be read.
    """
    path = settings.kerberos.keytab
    try:
        entries = read_keytab(Path(path).read_bytes())
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"kerberos.keytab: {path}: cannot be read ({exc}); run: kadmin -q 'ktadd -k {path} HTTP/HOST'"
        ) from None
    services = {*settings.kerberos.service, *settings.kerberos.service_if_keyed}
    used = [entry for entry in entries if entry.components[:1] and entry.components[0] in services]
    principals = list(dict.fromkeys((entry.components, entry.realm) for entry in used))
    for components, realm in principals[:_MOST_PRINCIPALS]:
        own = [entry for entry in used if (entry.components, entry.realm) == (components, realm)]
        yield _describe(path, own)
        yield from _examine_kdc(path, own)
    if len(principals) > _MOST_PRINCIPALS:
        yield Result.not_asked(
            _KDC, f"{len(principals) - _MOST_PRINCIPALS} more principals; the first {_MOST_PRINCIPALS} were"
        )


def _describe(path: str, own: list[KeytabEntry]) -> Result:
    newest = _newest(own)
    types = {entry.encryption_type for entry in own if entry.kvno == newest.kvno}
    names = ", ".join(_TYPES.get(one, f"encryption type {one}") for one in sorted(types))
    age = f", {max(0, int(time.time() - newest.made_at)) // _DAY_S} days old" if newest.made_at else ""
    text = f"{newest.principal}: kvno {newest.kvno}, {names}{age}"
    if types <= _WEAK:
        step = f"let the principal have aes256 keys, and run: kadmin -q 'ktadd -k {path} {newest.principal}'"
        return Result(_KEYTAB, "warning", f"{text}: only kinds that current clients refuse", path, step)
    return Result.okay(_KEYTAB, text, path)


def _examine_kdc(path: str, own: list[KeytabEntry]) -> Iterator[Result]:
    newest = _newest(own)
    facts = ask_kdc(path, newest.components, newest.realm)
    if facts.ahead_s is not None:
        why = "tickets count as expired, or as not yet valid"
        clock = describe_clock(_CLOCK, facts.ahead_s, limit_s=_SKEW_S, why=why)
        yield clock
        if clock.status == "failure":
            yield Result.not_asked(_KDC, "the clocks differ too much; correct that first")
            return
    yield _judge(path, own, facts)


def _judge(path: str, own: list[KeytabEntry], facts: KdcFacts) -> Result:
    newest = _newest(own)
    where = facts.kdc or newest.realm
    again = (
        f"run: kadmin -q 'ktadd -k {path} {newest.principal}', or copy the newest keytab, and keep the old keys in it"
    )
    if not facts.error and facts.ticket_kvno is not None:
        known = {(entry.kvno & 0xFF, entry.encryption_type) for entry in own}
        kind = _TYPES.get(facts.ticket_type or 0, f"encryption type {facts.ticket_type}")
        # Some programs write only 8 bits of the number.
        if (facts.ticket_kvno & 0xFF, facts.ticket_type) in known:
            return Result.okay(
                _KDC,
                f"{newest.principal}: accepts our key, and makes tickets with kvno {facts.ticket_kvno}, {kind}",
                where,
            )
        text = f"{newest.principal}: the KDC makes tickets with kvno {facts.ticket_kvno}, {kind}, and the keytab has kvno {newest.kvno}"
        return Result(_KDC, "failure", f"{text}, so that every ticket is refused", f"kerberos.keytab: {path}", again)
    if _WRONG_KEY.search(facts.error):
        theirs = f" (it has kvno {facts.client_kvno})" if facts.client_kvno is not None else ""
        text = f"{newest.principal}: the KDC{theirs} refuses the key of the keytab, kvno {newest.kvno}: the key was changed since"
        return Result(_KDC, "failure", text, f"kerberos.keytab: {path}", again)
    if _NOT_A_CLIENT.search(facts.error):
        # Active Directory knows a service by the name of its account only.
        service = newest.principal.rpartition("@")[0]
        return Result.not_asked(
            _KDC,
            f"{newest.principal} may not log in itself ({facts.error}); compare by hand, with a user's ticket: kvno {service}",
        )
    if facts.kdc:
        text = f"{newest.principal}: {facts.error or 'no ticket'}"
        return Result(_KDC, "failure", text, where, "look at the log of the KDC")
    step = "check [realms] of krb5.conf, DNS and the firewall (port 88)"
    return Result(_KDC, "failure", f"no KDC of {newest.realm} can be reached ({facts.error})", where, step)


def _newest(own: list[KeytabEntry]) -> KeytabEntry:
    return max(own, key=lambda entry: entry.kvno)
