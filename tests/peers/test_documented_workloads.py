"""The how-tos for jobs, pods and clouds as they stand there, in front of a live Airflow 3.3.

The platforms are an issuer of ours: its tokens have the claims that each of them documents, and their real issuers' names.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from peers.test_gateway_simple import shared_secret as simple_shared_secret
from support.peers.airflows import Airflow3
from support.peers.gateway import COMMAND, Gateway, StartGateway, call, clean_environment, curl, run_compat_auth, toml
from support.stub_issuer import RSA_KEY, Answer, jwk, running_issuer
from support.workload_tokens import token_of

pytestmark = pytest.mark.peer

# Without types of their own.
yaml: Any = importlib.import_module("yaml")
OAuth2Session: Any = importlib.import_module("authlib.integrations.requests_client").OAuth2Session
RequestsOAuth2Session: Any = importlib.import_module("requests_oauthlib").OAuth2Session
BackendApplicationClient: Any = importlib.import_module("oauthlib.oauth2").BackendApplicationClient

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
RECIPES = ("github-actions", "gitlab-ci", "kubernetes-pod", "cloud-accounts")
# Each rule of the pages, by the platform whose token it is for.
PLATFORMS = ("github", "gitlab", "kubernetes", "aws", "google", "entra", "entra-v1", "entra-role")
AUDIENCES = {
    "entra": "cccccccc-0000-4000-8000-000000000003",
    "entra-v1": "api://airflow.example.com",
    "entra-role": "cccccccc-0000-4000-8000-000000000003",
}
OF_A_ROLE = {
    "sub": "aaaaaaaa-0000-4000-8000-000000000003",
    "oid": "aaaaaaaa-0000-4000-8000-000000000003",
    "azp": "bbbbbbbb-0000-4000-8000-000000000004",
    "roles": ["Dag.Read", "Dag.Trigger"],
}
RUNS = "/api/v2/dags/tiny/dagRuns"
NEW_RUN = {"logical_date": None}
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def blocks(page: str, language: str) -> list[str]:
    text = (HOW_TO / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def documented_rules() -> list[dict[str, Any]]:
    return [rule for page in RECIPES for text in blocks(page, "toml") for rule in tomllib.loads(text)["workloads"]]


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway with every rule of the pages, and its configuration."""

    gateway: Gateway
    config: str

    @property
    def url(self) -> str:
        return self.gateway.url


@pytest.fixture(scope="module")
def site(airflow_simple: Airflow3, gateway: StartGateway, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("workloads")
    keys = folder / "jwks.json"
    keys.write_text(json.dumps({"keys": [jwk(RSA_KEY.public_key(), "rsa")]}))
    settings = simple_shared_secret(airflow_simple, folder)
    settings["upstream"]["roles"] = {"etl-robot": "OP", "*": "VIEWER"}
    settings["auth_backends"] = ["workload", "personal_token", "basic_auth"]
    settings["database_url"] = f"sqlite:///{folder / 'store.db'}"
    settings["workloads"] = [{**rule, "jwks": str(keys)} for rule in documented_rules()]
    config = folder / "compat_auth.toml"
    config.write_text(toml(settings))
    (command,) = (line for line in "".join(blocks("github-actions", "sh")).splitlines() if "users add" in line)
    run_compat_auth(*command.split()[1:], "--config", str(config))
    return Site(gateway(settings), str(config))


def job_token(platform: str, **changed: Any) -> str:
    """Return a token of the documented workload, for the documented audience."""
    environment = {"environment": "production"} if platform == "github" else {}
    audience = AUDIENCES.get(platform, "https://airflow.example.com")
    if platform == "entra-role":
        return token_of("entra", aud=audience, **{**OF_A_ROLE, **changed})
    return token_of(platform, aud=audience, **{**environment, **changed})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def run_script(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a documented script as it stands there, but for the DAG's name."""
    shell = ["sh", "-euc", script.replace("/dags/nightly/", "/dags/tiny/")]
    env = {**clean_environment(), "no_proxy": "*", **environment}
    return subprocess.run(shell, env=env, capture_output=True, text=True, check=False, timeout=120)


def state_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["state"])


def test_a_github_workflow_triggers_a_dag(site: Site) -> None:
    (workflow,) = blocks("github-actions", "yaml")
    job = yaml.safe_load(workflow)["jobs"]["trigger"]
    asked = f"/token?api-version=2.0&audience={site.url}"
    with running_issuer() as github:
        github.says[asked] = Answer({"value": job_token("github", sub="repo:acme/etl:environment:production")})

        done = run_script(
            job["steps"][0]["run"],
            AIRFLOW=site.url,
            ACTIONS_ID_TOKEN_REQUEST_TOKEN="of-the-runner",
            ACTIONS_ID_TOKEN_REQUEST_URL=f"{github.url}/token?api-version=2.0",
        )

    assert state_of(done) == "queued"
    assert job["environment"] == "production"


def test_a_gitlab_job_triggers_a_dag(site: Site) -> None:
    (pipeline,) = blocks("gitlab-ci", "yaml")
    job = yaml.safe_load(pipeline)["trigger-dag"]

    done = run_script(job["script"][0], AIRFLOW=site.url, AIRFLOW_TOKEN=job_token("gitlab"))

    assert state_of(done) == "queued"
    assert job["id_tokens"]["AIRFLOW_TOKEN"]["aud"] == "https://airflow.example.com"


def test_a_pod_triggers_a_dag(site: Site, tmp_path: Path) -> None:
    (manifest,) = blocks("kubernetes-pod", "yaml")
    account, job = yaml.safe_load_all(manifest)
    spec = job["spec"]["template"]["spec"]
    file = tmp_path / "token"
    file.write_text(job_token("kubernetes"))

    done = run_script(spec["containers"][0]["command"][2], AIRFLOW=site.url, TOKEN_FILE=str(file))

    assert state_of(done) == "queued"
    name, namespace = account["metadata"]["name"], account["metadata"]["namespace"]
    assert f"system:serviceaccount:{namespace}:{name}" in str(documented_rules())
    assert spec["serviceAccountName"] == name
    projected = spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    assert projected["audience"] == "https://airflow.example.com"


@pytest.mark.parametrize("platform", ["aws", "google", "entra", "entra-v1"])
def test_a_machine_of_a_cloud_triggers_a_dag(site: Site, platform: str) -> None:
    script = next(text for text in blocks("cloud-accounts", "sh") if "dagRuns" in text)

    done = run_script(script.replace("https://airflow.example.com", site.url), TOKEN=job_token(platform))

    assert state_of(done) == "queued"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_workload_can_do_nothing_but_trigger(site: Site, platform: str) -> None:
    token = job_token(platform)

    statuses = [
        call("POST", site.url + RUNS, headers=bearer(token), json=NEW_RUN).status_code,
        call("GET", f"{site.url}/api/v2/dags", headers=bearer(token)).status_code,
        call("DELETE", f"{site.url}/api/v2/dags/tiny", headers=bearer(token)).status_code,
        call("GET", f"{site.url}/api/v2/connections", headers=bearer(token)).status_code,
    ]

    assert statuses == [200, 403, 403, 403]


@pytest.mark.parametrize(
    ("platform", "changed"),
    [
        ("github", {"environment": None}),
        ("github", {"repository_id": "75"}),
        ("github", {"event_name": "pull_request_target"}),
        ("gitlab", {"ref_protected": "false"}),
        ("kubernetes", {"sub": "system:serviceaccount:etl:default"}),
        ("aws", {"sub": "arn:aws:iam::123456789012:role/other"}),
        ("google", {"hd": "acme.example"}),
        ("entra", {"scp": "user_impersonation"}),
        ("entra-role", {"roles": ["Dag.Read"]}),
        ("entra-role", {"roles": "Dag.Trigger"}),
        ("entra-role", {"azp": "bbbbbbbb-0000-4000-8000-000000000005"}),
    ],
)
def test_another_workload_triggers_nothing(site: Site, platform: str, changed: dict[str, Any]) -> None:
    answer = call("POST", site.url + RUNS, headers=bearer(job_token(platform, **changed)), json=NEW_RUN)

    assert answer.status_code == 401


def test_check_finds_no_rule_of_the_pages_too_wide(site: Site) -> None:
    done = subprocess.run(
        [COMMAND, "check", "--config", site.config],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )

    assert [line for line in done.stdout.splitlines() if line.startswith("WARN")] == []
    assert done.stdout.count("acts as the role account etl-robot") == len(PLATFORMS)


def test_the_printed_rule_lets_the_token_in_that_it_was_made_from(site: Site) -> None:
    done = subprocess.run(
        [COMMAND, "workloads", "suggest"],
        input=job_token("github"),
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(),
    )

    (rule,) = tomllib.loads(done.stdout)["workloads"]
    (documented, *_) = documented_rules()
    assert rule == documented


# --- OAuth libraries that nobody here wrote ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secret(site: Site) -> str:
    """A personal token of the role account without limits."""
    return _new_token(site, "all")


def _new_token(site: Site, scope: str) -> str:
    arguments = ("--user", "etl-robot", "--name", f"client-{scope}", "--scope", scope, "--config", site.config)
    return run_compat_auth("tokens", "create", *arguments).strip()


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_gets_a_token_for_a_role_account(site: Site, secret: str, method: str) -> None:
    session = OAuth2Session("etl-robot", secret, token_endpoint_auth_method=method)
    session.trust_env = False

    given = session.fetch_token(f"{site.url}/auth/token", grant_type="client_credentials")

    assert (given["token_type"], given["scope"]) == ("Bearer", "all")
    assert given["access_token"] != secret
    assert session.post(site.url + RUNS, json=NEW_RUN).status_code == 200


def test_authlib_gets_a_limited_token_that_stays_limited(site: Site) -> None:
    session = OAuth2Session("etl-robot", _new_token(site, "trigger"))
    session.trust_env = False

    session.fetch_token(f"{site.url}/auth/token", grant_type="client_credentials")

    assert session.post(site.url + RUNS, json=NEW_RUN).status_code == 200
    assert session.get(f"{site.url}/api/v2/dags").status_code == 403


def test_authlib_shows_a_jobs_token_as_an_assertion(site: Site) -> None:
    session = OAuth2Session("etl-robot", token_endpoint_auth_method="none")
    session.trust_env = False

    session.fetch_token(
        f"{site.url}/auth/token",
        grant_type="client_credentials",
        client_assertion_type=JWT_BEARER,
        client_assertion=job_token("github"),
    )

    assert session.post(site.url + RUNS, json=NEW_RUN).status_code == 200


@pytest.mark.parametrize("in_form", [True, False])
def test_requests_oauthlib_gets_a_token_for_a_role_account(
    site: Site, secret: str, in_form: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library refuses http, also on loopback.
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    session = RequestsOAuth2Session(client=BackendApplicationClient(client_id="etl-robot"))
    session.trust_env = False

    session.fetch_token(f"{site.url}/auth/token", client_secret=secret, include_client_id=in_form or None)

    assert session.post(site.url + RUNS, json=NEW_RUN).status_code == 200


@pytest.mark.parametrize("arguments", [["-u", "etl-robot:{}"], ["-d", "client_id=etl-robot", "-d", "client_secret={}"]])
def test_curl_gets_a_token_as_documented(site: Site, secret: str, arguments: list[str]) -> None:
    shown = [text.format(secret) for text in arguments]

    answer = curl("-d", "grant_type=client_credentials", *shown, f"{site.url}/auth/token")

    token = answer.json()["access_token"]
    assert call("GET", f"{site.url}/api/v2/dags", headers=bearer(token)).status_code == 200
