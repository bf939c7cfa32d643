"""Mode "airflow2" beside a live Airflow 2.11: the same requests, the same answers, to the letter.

The gateway reads the very user tables of the Airflow 2 that it is compared with. What a refusal looks like must be
equal; who is let in must be the same user. `ACCEPTED` names every difference that is meant.
"""

import http.client
import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from corpora.cases import load
from support.compat.matrix import (
    CASES,
    OK,
    PUBLIC_TYPE,
    SESSION_ALONE,
    UNAUTHENTICATED_TYPE,
    UPSTREAM,
    USERS,
    WITH_TICKETS,
    Case,
)
from support.peers.airflow2_as import Airflow2As
from support.peers.airflows import AIRFLOW2_BACKENDS, JWT_SECRET, Airflow2
from support.peers.echo import EchoUpstream
from support.peers.fab import added_user, changed_user, log_in_to_ui
from support.peers.gateway import TIMEOUT_S, Gateway, StartGateway, call
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets

pytestmark = pytest.mark.peer

FAB: Final = "airflow.providers.fab.auth_manager.api.auth.backend"
PATH: Final = "/api/v1/pools"


@dataclass(frozen=True, slots=True)
class Column:
    """One configuration of Airflow 2.

    Attributes:
        auth_backends: Airflow's comma list, used here and there as it is.
        public: AUTH_ROLE_PUBLIC, or None.
    """

    auth_backends: str
    public: str | None


COLUMNS: Final = {
    "basic": Column(f"{FAB}.basic_auth", None),
    "session,basic": Column(f"airflow.api.auth.backend.session,{FAB}.basic_auth", None),
    "stock": Column(AIRFLOW2_BACKENDS, "Public"),
}


def basic(pair: str) -> list[bytes]:
    return [b"Basic " + b64encode(pair.encode())]


# Authorization values by name of the row; the user whom Airflow 2 lets in, or None.
ROWS: Final[dict[str, tuple[list[bytes], str | None]]] = {
    row["name"]: ([value.encode("latin-1") for value in row["authorization"]], row["user"])
    for row in load("legacy")["rows"]
}
UPSTREAM_S_OWN: Final = "a Bearer that no backend takes is the upstream's own JWT: the upstream judges it"
ONE_CREDENTIAL: Final = "two credentials in one request are 400: a front and a back could believe different ones"
# By row: why our answer is not Airflow 2's.
ACCEPTED: Final = {
    "bearer": UPSTREAM_S_OWN,
    "two credentials": ONE_CREDENTIAL,
    "two in one": ONE_CREDENTIAL,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client can depend on."""

    status: int
    challenges: list[str]
    content_type: str | None
    body: Any


def ask(url: str, authorization: list[bytes], **headers: str) -> Answer:
    """Send the header values as they are and return the answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
    try:
        connection.putrequest("GET", PATH)
        for value in authorization:
            connection.putheader("Authorization", value)
        for name, text in headers.items():
            connection.putheader(name, text)
        connection.endheaders()
        with connection.getresponse() as response:
            body = response.read()
            challenges = response.headers.get_all("WWW-Authenticate") or []
            content_type = response.headers.get("Content-Type")
            is_json = "json" in (content_type or "")
            return Answer(response.status, challenges, content_type, json.loads(body) if is_json else body)
    finally:
        connection.close()


class Realm:
    """What a row wants filled in: a fresh ticket for the service, or the cookie of the session."""

    def __init__(self, kdc: Kdc) -> None:
        self._tickets = Tickets(kdc)
        # Airflow 2 wants the key of its own host's canonical name, whatever the client calls it.
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_DGRAM, flags=socket.AI_CANONNAME)
        self.service = f"airflow@{found[0][3]}"
        self.keytab = kdc.keytab(self.service.replace("@", "/"))
        self.env = {
            **kdc.env,
            "AIRFLOW__KERBEROS__KEYTAB": str(self.keytab),
            "KRB5RCACHENAME": f"file2:{kdc.folder}/replays-airflow2",
        }
        self.session = ""

    def __getitem__(self, name: str) -> str:
        return self.session if name == "session" else b64encode(self._tickets.token(name, self.service)).decode()


@pytest.fixture(scope="module")
def realm(kdc: Kdc) -> Realm:
    return Realm(kdc)


@pytest.fixture(scope="module", params=list(COLUMNS))
def column(request: pytest.FixtureRequest) -> Column:
    return COLUMNS[request.param]


@pytest.fixture(scope="module")
def airflow(request: pytest.FixtureRequest, column: Column, airflow2_as: Airflow2As) -> Airflow2:
    if column is COLUMNS["stock"]:
        # The one of the whole run, which is stock, needs no start of its own.
        stock: Airflow2 = request.getfixturevalue("airflow2")
        return stock
    return airflow2_as(auth_backends=column.auth_backends, auth_role_public=column.public)


@pytest.fixture(scope="module")
def instance(column: Column, airflow: Airflow2, echo_upstream: EchoUpstream, gateway: StartGateway) -> Gateway:
    return gateway(
        {
            "auth_backends": column.auth_backends,
            "mode": "airflow2",
            "airflow2": {"auth_role_public": column.public or ""},
            "upstream": {"url": echo_upstream.url, "protect": ["/api/", "/ui/"], "api_v1": False},  # it echoes, no more
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            "basic_auth": {"directories": ["airflow_db"]},
            "airflow_db": {"url": airflow.database_url},
        }
    )


@pytest.mark.parametrize("row", [name for name, (_, user) in ROWS.items() if user is None and name not in ACCEPTED])
def test_the_gateway_refuses_as_airflow_2_does(airflow: Airflow2, instance: Gateway, row: str) -> None:
    authorization, _ = ROWS[row]

    theirs = ask(airflow.url, authorization)
    ours = ask(instance.url, authorization)

    assert theirs.status in (401, 403)
    assert ours == theirs


@pytest.mark.parametrize("row", [name for name, (_, user) in ROWS.items() if user is not None])
def test_the_gateway_lets_in_whom_airflow_2_lets_in(airflow: Airflow2, instance: Gateway, row: str) -> None:
    authorization, user = ROWS[row]

    theirs = ask(airflow.url, authorization)
    ours = ask(instance.url, authorization)
    who = call("GET", f"{instance.url}/compat-auth/whoami", headers={"Authorization": authorization[0].strip()})

    assert theirs.status == 200
    assert ours.status == 200
    assert who.json()["username"] == user


@pytest.mark.parametrize("row", list(ACCEPTED))
def test_a_difference_that_is_meant_is_still_one_and_lets_nobody_in(
    airflow: Airflow2, instance: Gateway, row: str
) -> None:
    authorization, _ = ROWS[row]

    theirs = ask(airflow.url, authorization)
    ours = ask(instance.url, authorization)

    assert ours != theirs
    assert ours.status in (400, 401, 403)


def test_a_wrong_password_beside_a_good_cookie_lets_airflow_2_in_and_not_us(
    airflow: Airflow2, instance: Gateway
) -> None:
    """Airflow 2 takes a request for its cookie's user though it names another: a hole that is not copied."""
    cookies = log_in_to_ui(f"{airflow.url}/login/", "viewer", "viewer")
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())

    theirs = ask(airflow.url, basic("admin:wrong"), Cookie=cookie)
    ours = ask(instance.url, basic("admin:wrong"), Cookie=cookie)
    refusal = ask(instance.url, basic("admin:wrong"))

    assert theirs.status == 200
    assert ours == refusal
    assert ours.status in (401, 403)


@pytest.fixture(scope="module")
def admin_s_cookie(airflow: Airflow2) -> Iterator[str]:
    """The session cookie of a signed-in admin, while Airflow 2 has the users of the matrix."""
    name, password, email, _ = next(user for user in USERS if not user[0].isascii())
    with changed_user(airflow, "admin", email=USERS[0][2]), added_user(airflow, name, password, email):
        yield log_in_to_ui(f"{airflow.url}/login/", "admin", "admin")["session"]


@pytest.mark.parametrize("case", [*CASES, SESSION_ALONE], ids=lambda case: case.name)
def test_airflow_2_answers_as_the_matrix_says(
    airflow: Airflow2, column: Column, admin_s_cookie: str, realm: Realm, case: Case
) -> None:
    name = "session(core first),basic" if column is COLUMNS["session,basic"] else "basic"
    realm.session = admin_s_cookie

    check_airflow(airflow, name, case, realm, public=column.public)


def check_airflow(airflow: Airflow2, name: str, case: Case, realm: Realm, *, public: str | None = None) -> None:
    """Send a row to Airflow 2 itself and compare its answer with the matrix."""
    headers = [(header, value.format_map(realm)) for header, value in case.headers]
    authorization = [value.encode() for header, value in headers if header == "Authorization"]
    others = {header: value for header, value in headers if header != "Authorization"}
    status, challenges = case.airflow2[name]
    if status == 401 and public is not None:
        status, challenges = 403, []

    answer = ask(airflow.url, authorization, **others)

    # A success brings none: what a client with mutual authentication waits for, Airflow 2's chain throws away.
    assert (answer.status, answer.challenges) == (status, challenges)
    if status not in (401, 403):
        return
    kind = UNAUTHENTICATED_TYPE if status == 401 else PUBLIC_TYPE
    assert answer.body["type"].endswith(f"#section/Errors/{kind}")


@dataclass(frozen=True, slots=True)
class Site:
    """An Airflow 2 that takes tickets, and the gateway that reads its users and its keytab.

    Attributes:
        column: Of the matrix.
    """

    column: str
    airflow: Airflow2
    instance: Gateway


@pytest.fixture(scope="module", params=WITH_TICKETS)
def site(
    request: pytest.FixtureRequest,
    airflow2_as: Airflow2As,
    realm: Realm,
    kdc: Kdc,
    echo_upstream: EchoUpstream,
    gateway: StartGateway,
) -> Iterator[Site]:
    backends = ",".join(f"{FAB}.{name}_auth" for name in request.param.split(","))
    airflow = airflow2_as(auth_backends=backends, auth_role_public=None, **realm.env)
    settings = {
        "auth_backends": backends,
        "mode": "airflow2",
        "upstream": {"url": echo_upstream.url, "protect": ["/api/", "/ui/"], "api_v1": False},  # it echoes, no more
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "basic_auth": {"directories": ["airflow_db"]},
        "airflow_db": {"url": airflow.database_url},
        "kerberos": {
            "keytab": str(realm.keytab),
            "service": "airflow",
            "name_mapping": "full",
            "replay_cache": str(kdc.folder / "replays-beside-airflow2"),
        },
    }
    with ExitStack() as users:
        users.enter_context(changed_user(airflow, "admin", email=USERS[0][2]))
        for name, password, email, active in USERS:
            if name not in ("admin", "disabled"):
                users.enter_context(added_user(airflow, name, password, email))
                users.enter_context(changed_user(airflow, name, active=active))
        realm.session = log_in_to_ui(f"{airflow.url}/login/", "admin", "admin")["session"]
        yield Site(request.param, airflow, gateway(settings, kdc.env))


@pytest.mark.parametrize("case", [*CASES, SESSION_ALONE], ids=lambda case: case.name)
def test_airflow_2_with_tickets_answers_as_the_matrix_says(site: Site, realm: Realm, case: Case) -> None:
    check_airflow(site.airflow, site.column, case, realm)


ALIKE: Final = [case for case in CASES if case.answer != UPSTREAM and not case.hole]


@pytest.mark.parametrize("case", ALIKE, ids=lambda case: case.name)
def test_the_gateway_answers_to_tickets_as_airflow_2_does(site: Site, realm: Realm, case: Case) -> None:
    def present() -> list[bytes]:
        return [value.format_map(realm).encode() for _, value in case.headers]

    theirs = ask(site.airflow.url, present())
    ours = ask(site.instance.url, present())

    if case.answer_in(site.column) == OK:
        assert (theirs.status, ours.status) == (200, 200)
        assert len(ours.challenges) == (case.takes == "kerberos")
    else:
        assert ours == theirs


@pytest.mark.parametrize("case", [case for case in CASES if case.hole], ids=lambda case: case.name)
def test_no_hole_of_airflow_2_that_tickets_show_is_copied(site: Site, realm: Realm, case: Case) -> None:
    headers = [(header, value.format_map(realm)) for header, value in case.headers]

    answer = ask(
        site.instance.url,
        [value.encode() for header, value in headers if header == "Authorization"],
        **{header: value for header, value in headers if header != "Authorization"},
    )

    assert answer.status in (401, 403)
