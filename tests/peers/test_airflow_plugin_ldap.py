"""FAB's own LDAP settings, as they stand in webserver_config.py: the plugin asks FAB, and FAB asks the LDAP server."""

from pathlib import Path

import pytest

from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.gateway import call
from support.peers.plugin import BASIC_AUTH, StartPlugged
from support.peers.slapd import PEOPLE, SERVICE, SERVICE_PASSWORD, USERS, Slapd

pytestmark = pytest.mark.peer

CONFIG = """
from flask_appbuilder.const import AUTH_LDAP

AUTH_TYPE = AUTH_LDAP
AUTH_LDAP_SERVER = {url!r}
AUTH_LDAP_TLS_CACERTFILE = {ca_file!r}
AUTH_LDAP_SEARCH = {people!r}
AUTH_LDAP_UID_FIELD = "uid"
AUTH_LDAP_BIND_USER = {service!r}
AUTH_LDAP_BIND_PASSWORD = {password!r}
AUTH_USER_REGISTRATION = True
AUTH_USER_REGISTRATION_ROLE = "Viewer"
"""


@pytest.fixture(scope="module")
def airflow(plugged_airflow: StartPlugged, slapd: Slapd, tmp_path_factory: pytest.TempPathFactory) -> Airflow3:
    config: Path = tmp_path_factory.mktemp("ldap") / "webserver_config.py"
    config.write_text(
        CONFIG.format(
            url=slapd.tls_url, ca_file=str(slapd.ca_file), people=PEOPLE, service=SERVICE, password=SERVICE_PASSWORD
        )
    )
    return plugged_airflow(seed.FAB, AIRFLOW__FAB__AUTH_BACKENDS=BASIC_AUTH, AIRFLOW__FAB__CONFIG_FILE=str(config))


@pytest.mark.parametrize("name", ["alice", "jürgen"])
def test_a_user_of_the_ldap_server_comes_in_with_the_role_that_fab_gives(airflow: Airflow3, name: str) -> None:
    pair = (name.encode(), USERS[name].encode())

    who = call("GET", f"{airflow.url}/compat-auth/whoami", auth=pair)
    dags = call("GET", f"{airflow.url}/api/v2/dags", auth=pair)
    connections = call("GET", f"{airflow.url}/api/v2/connections", auth=pair)

    assert (who.status_code, dags.status_code, connections.status_code) == (200, 200, 403)
    assert (who.json()["username"], who.json()["roles"]) == (name, ["Viewer"])


@pytest.mark.parametrize(("name", "password"), [("alice", "wrong"), ("alice", ""), ("nobody", "x"), ("*", "builder")])
def test_who_is_not_known_there_stays_out(airflow: Airflow3, name: str, password: str) -> None:
    answer = call("GET", f"{airflow.url}/api/v2/dags", auth=(name, password))

    assert answer.status_code == 401


def test_a_user_of_the_database_still_comes_in_as_fab_has_it(airflow: Airflow3) -> None:
    assert call("GET", f"{airflow.url}/api/v2/dags", auth=("admin", "admin")).status_code == 200
