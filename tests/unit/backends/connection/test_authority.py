"""Which certificates are good: chain, time, purpose, revocation."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from compat_auth.errors import BackendUnavailable, ConfigError, InvalidToken
from compat_auth_backends.connection.authority import Authority as Verifier
from support.certificates import DAY, NOW, Authority, Issued, name_of

CA = Authority()
BELOW = Authority("CN=Below CA,O=Example", signed_by=CA)
NO_CA = Authority("CN=No CA,O=Example", signed_by=CA, is_authority=False)
OTHER = Authority()
GOOD = CA.issue(names=[x509.UniformResourceIdentifier("spiffe://example.org/etl")])


@pytest.fixture
def ca(tmp_path: Path) -> str:
    return str(CA.write(tmp_path / "ca.pem"))


def der(authority: Authority) -> bytes:
    return Issued(authority.certificate, authority.key).der


@pytest.mark.parametrize(
    "issued",
    [
        pytest.param(GOOD, id="with a URI"),
        pytest.param(CA.issue(), id="with a subject alone"),
        pytest.param(CA.issue(purposes=()), id="for every purpose"),
        pytest.param(
            CA.issue(purposes=(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)), id="for both ends"
        ),
    ],
)
def test_what_the_authority_has_issued_for_clients_is_good(ca: str, issued: Issued) -> None:
    assert Verifier(ca).verify([issued.der]) == issued.certificate


@pytest.mark.parametrize(
    ("shown", "problem"),
    [
        pytest.param([OTHER.issue().der], "certificate", id="another authority of the same name"),
        pytest.param([CA.issue(ends=NOW - dt.timedelta(minutes=1)).der], "certificate", id="ended"),
        pytest.param([CA.issue(starts=NOW + DAY / 2).der], "certificate", id="not begun"),
        pytest.param([CA.issue(purposes=[ExtendedKeyUsageOID.SERVER_AUTH]).der], "clientAuth", id="a server's"),
        pytest.param(
            [CA.issue(purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]).der], "clientAuth", id="anybody's purpose"
        ),
        pytest.param([CA.issue(critical="1.2.3.4").der], "critical extension", id="an unknown critical extension"),
        pytest.param([BELOW.issue().der], "certificate", id="its own issuer is missing"),
        pytest.param([NO_CA.issue().der, der(NO_CA)], "certificate", id="issued by a client"),
        pytest.param([OTHER.issue().der, der(OTHER)], "certificate", id="brings its own authority"),
        pytest.param([der(CA)], "certificate", id="the authority itself"),
        pytest.param([b"\x30\x03\x02\x01\x01"], "cannot be read", id="no certificate"),
        pytest.param([b""], "cannot be read", id="nothing"),
    ],
)
def test_any_other_certificate_is_refused(ca: str, shown: list[bytes], problem: str) -> None:
    with pytest.raises(InvalidToken, match=problem):
        Verifier(ca).verify(shown)


def test_what_comes_with_a_certificate_completes_its_chain(ca: str) -> None:
    issued = BELOW.issue()

    assert Verifier(ca).verify([issued.der, der(BELOW)]) == issued.certificate


def directory(text: str) -> x509.DirectoryName:
    return x509.DirectoryName(name_of(text))


CLIENTS, SERVERS = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
SUBJECT = "CN=etl,OU=Robots,O=Example"


@pytest.mark.parametrize(
    ("limit", "subject", "problem"),
    [
        pytest.param(x509.ExtendedKeyUsage([SERVERS]), SUBJECT, "not clientAuth", id="for servers alone"),
        pytest.param(
            x509.NameConstraints([directory("O=Sales")], None), SUBJECT, "name constraints", id="for another company"
        ),
        pytest.param(
            x509.NameConstraints([directory("OU=Robots,O=Sales"), directory("OU=Men,O=Example")], None),
            SUBJECT,
            "name constraints",
            id="for other departments",
        ),
        pytest.param(
            x509.NameConstraints([directory("OU=Robots")], None), SUBJECT, "name constraints", id="not from the root on"
        ),
        pytest.param(
            x509.NameConstraints(None, [directory("OU=Robots,O=Example")]), SUBJECT, "name constraints", id="excluded"
        ),
        pytest.param(
            x509.NameConstraints(None, [directory("O=example")]),
            "CN=etl,O=EXAMPLE",
            "name constraints",
            id="excluded in another case",
        ),
        pytest.param(
            x509.NameConstraints([x509.RFC822Name("sales.example")], None),
            "1.2.840.113549.1.9.1=etl@example.org,O=Example",
            "the address",
            id="an address in the subject",
        ),
        pytest.param(
            x509.NameConstraints(None, [x509.RFC822Name(".example.org")]),
            "1.2.840.113549.1.9.1=etl@A.EXAMPLE.ORG,O=Example",
            "the address",
            id="an excluded domain in the subject",
        ),
    ],
)
def test_an_authority_below_certifies_no_more_than_it_may(
    ca: str, limit: x509.ExtensionType, subject: str, problem: str
) -> None:
    limited = Authority("CN=Limited CA,O=Example", signed_by=CA, limits=(limit,))

    with pytest.raises(InvalidToken, match=problem):
        Verifier(ca).verify([limited.issue(subject).der, der(limited)])


def test_a_limit_holds_for_what_is_issued_further_below(ca: str) -> None:
    limit = x509.NameConstraints([directory("O=Sales")], None)
    above = Authority("CN=Sales CA,O=Sales", signed_by=CA, limits=(limit,))
    below = Authority("CN=Below Sales CA,O=Sales", signed_by=above)

    with pytest.raises(InvalidToken, match="name constraints"):
        Verifier(ca).verify([below.issue().der, der(below), der(above)])


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(x509.ExtendedKeyUsage([SERVERS, CLIENTS]), id="for both ends"),
        pytest.param(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), id="for every purpose"),
        pytest.param(x509.NameConstraints([directory("O=Sales"), directory("O=EXAMPLE")], None), id="for its company"),
        pytest.param(x509.NameConstraints(None, [directory("O=Sales")]), id="for all but another company"),
        pytest.param(
            x509.NameConstraints([x509.RFC822Name("sales.example")], None), id="for the addresses of its host"
        ),
    ],
)
def test_an_authority_below_certifies_what_it_may(ca: str, limit: x509.ExtensionType) -> None:
    limited = Authority("CN=Limited CA,O=Example", signed_by=CA, limits=(limit,))
    issued = limited.issue(f"1.2.840.113549.1.9.1=etl@sales.example,{SUBJECT}")

    assert Verifier(ca).verify([issued.der, der(limited)]) == issued.certificate


def test_a_revoked_certificate_is_refused_as_soon_as_the_file_says_so(ca: str, tmp_path: Path) -> None:
    crl = tmp_path / "crl.pem"
    crl.write_text(CA.revocations())
    verifier = Verifier(ca, str(crl))

    before = verifier.verify([GOOD.der])
    crl.write_text(CA.revocations(GOOD))
    with pytest.raises(InvalidToken, match="is revoked"):
        verifier.verify([GOOD.der])

    assert before == GOOD.certificate


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(CA.revocations(ends=NOW - DAY / 4), id="ended"),
        pytest.param(CA.revocations(starts=NOW + DAY / 4), id="not begun"),
        pytest.param(OTHER.revocations(), id="of another authority with the same name"),
        pytest.param(BELOW.revocations(), id="of an authority below"),
        pytest.param("", id="empty"),
        pytest.param("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", id="no list"),
        pytest.param(None, id="gone"),
    ],
)
def test_without_a_valid_list_nobody_comes_in(ca: str, tmp_path: Path, text: str | None) -> None:
    crl = tmp_path / "crl.pem"
    crl.write_text(CA.revocations())
    verifier = Verifier(ca, str(crl))

    if text is None:
        crl.unlink()
    else:
        crl.write_text(text)

    with pytest.raises(BackendUnavailable, match=r"crl\.pem"):
        verifier.verify([GOOD.der])
    with pytest.raises(BackendUnavailable, match=r"crl\.pem"):
        verifier.probe()


def test_one_file_may_hold_the_lists_of_several_authorities(tmp_path: Path) -> None:
    both, crl = tmp_path / "ca.pem", tmp_path / "crl.pem"
    both.write_text(CA.pem + BELOW.pem)
    revoked = BELOW.issue()
    crl.write_text(CA.revocations() + BELOW.revocations(revoked))
    verifier = Verifier(str(both), str(crl))

    found = verifier.verify([GOOD.der]), verifier.verify([BELOW.issue().der]).issuer
    with pytest.raises(InvalidToken, match="is revoked"):
        verifier.verify([revoked.der])

    assert found == (GOOD.certificate, BELOW.certificate.subject)
    assert "2 authorities; revocation lists until " in verifier.probe()


def test_files_that_cannot_work_stop_the_start(tmp_path: Path, ca: str) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "open").write_text(CA.pem)
    (tmp_path / "open").chmod(0o666)

    for files, problem in (
        (("",), "ca_file: missing; name"),
        ((str(tmp_path / "nowhere"),), "ca_file: .*No such file"),
        ((str(tmp_path / "empty"),), "no certificates in PEM"),
        ((str(tmp_path / "open"),), "chmod go-w"),
        ((ca, str(tmp_path / "nowhere")), "crl_file: .*No such file"),
        ((ca, str(tmp_path / "empty")), "no X509 CRL"),
    ):
        with pytest.raises(ConfigError, match=problem):
            Verifier(*files)


def test_an_authority_that_has_ended_is_found_by_the_check(ca: str) -> None:
    with pytest.raises(ConfigError, match="CN=Clients CA,O=Example has ended"):
        Verifier(ca, now=lambda: NOW + 20 * DAY).probe()
