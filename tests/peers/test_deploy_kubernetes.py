"""The Helm chart and the kustomizations in deploy/, rendered by Helm and kubectl and read with Kubernetes' own schemas."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from compat_auth import __version__
from compat_auth.config import parse_settings
from support.peers.deploy_tools import FOREIGN_GROUPS, Manifest, faults_of, helm, kustomized, render

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "compat-auth"
FOR_AIRFLOW = DEPLOY / "helm" / "values-for-airflow"
OVERLAYS = DEPLOY / "kubernetes" / "overlays"
EVERYTHING = (
    "--set", "autoscaling.enabled=true", "--set", "ingress.enabled=true", "--set", "ingress.tls.secretName=tls",
    "--set", "ingress.className=nginx", "--set", "httpRoute.enabled=true", "--set", "httpRoute.parentRefs[0].name=gate",
    "--set", "httpRoute.hostnames[0]=airflow.example.org", "--set", "metrics.serviceMonitor.enabled=true",
    "--set", "metrics.serviceMonitor.labels.release=prometheus", "--set", "service.annotations.a=b",
    "--set", "imagePullSecrets[0].name=registry", "--set", "podAnnotations.a=b", "--set", "podLabels.a=b",
    "--set", "nodeSelector.disk=ssd", "--set", "tolerations[0].operator=Exists", "--set", "serviceAccount.annotations.a=b",
    "--set", "extraEnv[0].name=KRB5_CONFIG", "--set", "extraEnv[0].value=/krb5/krb5.conf",
    "--set", "extraVolumes[0].name=krb5", "--set", "extraVolumes[0].configMap.name=krb5",
    "--set", "extraVolumeMounts[0].name=krb5", "--set", "extraVolumeMounts[0].mountPath=/krb5",
)  # fmt: skip
NOTHING = (
    "--set", "metrics.enabled=false", "--set", "networkPolicy.enabled=false", "--set", "podDisruptionBudget.enabled=false",
    "--set", "serviceAccount.create=false", "--set", "secrets.existingSecret=",
)  # fmt: skip


def rendered(name: str) -> list[Manifest]:
    match name:
        case "chart":
            return render(CHART)
        case "chart-everything":
            return render(CHART, *EVERYTHING)
        case "chart-nothing":
            return render(CHART, *NOTHING)
        case _:
            return kustomized(OVERLAYS / name)


SETS = ("chart", "chart-everything", "chart-nothing", "stand-alone", "sidecar")


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] == kind]


def ours(manifests: list[Manifest]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each pod's specification with our container in it."""
    for one in of_kind(manifests, "Deployment"):
        spec = one["spec"]["template"]["spec"]
        for container in spec["containers"]:
            if container["name"] == "compat-auth":
                yield spec, container


@pytest.mark.parametrize("name", SETS)
def test_every_manifest_is_one_that_kubernetes_knows(name: str, tmp_path: Path) -> None:
    manifests = rendered(name)

    assert faults_of(manifests, tmp_path) == []


def test_a_misspelt_field_would_be_noticed(tmp_path: Path) -> None:
    [service] = of_kind(rendered("stand-alone"), "Service")
    service["spec"]["portz"] = []

    assert faults_of([service], tmp_path) != []


@pytest.mark.parametrize("name", SETS)
def test_the_container_meets_the_restricted_pod_security_standard(name: str) -> None:
    found = list(ours(rendered(name)))

    assert len(found) == 1
    for spec, container in found:
        both = spec["securityContext"] | container["securityContext"]
        assert both["runAsNonRoot"] is True
        assert both["runAsUser"] > 0
        assert both["seccompProfile"] == {"type": "RuntimeDefault"}
        assert both["allowPrivilegeEscalation"] is False
        assert both["readOnlyRootFilesystem"] is True
        assert both["capabilities"] == {"drop": ["ALL"]}
        kinds = {next(key for key in volume if key != "name") for volume in spec["volumes"]}
        assert kinds <= {"configMap", "secret", "emptyDir"}


@pytest.mark.parametrize("name", SETS)
def test_what_a_pod_mounts_and_probes_is_there(name: str) -> None:
    for spec, container in ours(rendered(name)):
        volumes = {volume["name"] for volume in spec["volumes"]}
        ports = {port["name"] for port in container["ports"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        files = [entry["value"] for entry in container["env"] if entry["name"].endswith("_FILE")]

        assert set(mounts.values()) <= volumes
        for probe, path in {"startupProbe": "live", "livenessProbe": "live", "readinessProbe": "ready"}.items():
            assert container[probe]["httpGet"]["path"] == f"/compat-auth/{path}"
            assert container[probe]["httpGet"]["port"] in ports
        assert all(file.startswith("/run/secrets/compat-auth/") for file in files)
        assert not files or "/run/secrets/compat-auth" in mounts


@pytest.mark.parametrize("name", SETS)
def test_a_pod_has_time_to_finish_its_requests(name: str) -> None:
    for spec, container in ours(rendered(name)):
        [drain] = [entry["value"] for entry in container["env"] if entry["name"] == "COMPAT_AUTH_SERVE__DRAIN_S"]

        # The sidecar stops with Airflow's pod, whose default is 30 seconds; docs/how-to/kubernetes.md says to raise it.
        assert spec.get("terminationGracePeriodSeconds", 31) > float(drain) + 20


@pytest.mark.parametrize("name", SETS)
def test_the_configuration_and_the_variables_are_ones_that_the_gateway_accepts(name: str) -> None:
    manifests = rendered(name)
    [text] = [one["data"]["compat_auth.toml"] for one in of_kind(manifests, "ConfigMap")]
    [(_, container)] = ours(manifests)
    names = {entry["name"] for entry in container["env"] if entry["name"].startswith("COMPAT_AUTH_")}

    settings = parse_settings(tomllib.loads(text), origin=name)

    unknown = [one for one in names if not knows(settings, one)]
    assert unknown == []


def knows(settings: object, variable: str) -> bool:
    found = settings
    for part in variable.removeprefix("COMPAT_AUTH_").removesuffix("_FILE").lower().split("__"):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


@pytest.mark.parametrize("folder", ["deploy", "docs"])
def test_nobody_is_trusted_before_the_reader_names_the_proxy(folder: str) -> None:
    suffixes = {".toml", ".yaml"} if folder == "deploy" else {".md"}
    files = [
        path
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes and (folder == "deploy" or path.stem in ("kubernetes", "helm"))
    ]

    found = [one for path in files for one in re.findall(r"^ *trusted_proxies = (.*)$", path.read_text(), re.MULTILINE)]

    # TEST-NET-1 (RFC 5737).
    assert set(found) == {'["192.0.2.0/24"]'}


def labels_of(manifest: Manifest) -> dict[str, str]:
    return dict(manifest["spec"]["template"]["metadata"]["labels"])


@pytest.mark.parametrize("name", SETS)
def test_every_selector_selects_the_pods(name: str) -> None:
    manifests = rendered(name)
    [labels] = [labels_of(one) for one in of_kind(manifests, "Deployment")]

    for one in manifests:
        spec = one.get("spec", {})
        selector: dict[str, Any] = {}
        if one["kind"] == "Service":
            selector = spec["selector"]
        elif one["kind"] in ("Deployment", "PodDisruptionBudget"):
            selector = spec["selector"]["matchLabels"]
        elif one["kind"] == "NetworkPolicy":
            selector = spec["podSelector"]["matchLabels"]
        assert selector.items() <= labels.items(), one["kind"]
        assert selector or one["kind"] not in ("Service", "Deployment", "PodDisruptionBudget", "NetworkPolicy")


def test_the_service_monitor_finds_the_metrics_service_alone() -> None:
    manifests = rendered("chart-everything")
    [monitor] = of_kind(manifests, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]

    found = [one for one in of_kind(manifests, "Service") if wanted.items() <= one["metadata"]["labels"].items()]

    [service] = found
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert monitor["apiVersion"].startswith(FOREIGN_GROUPS)


@pytest.mark.parametrize("name", ["chart", "chart-everything"])
def test_a_service_for_requests_does_not_publish_the_metrics(name: str) -> None:
    services = {one["metadata"]["name"]: one for one in of_kind(rendered(name), "Service")}

    assert [port["name"] for port in services["gate-compat-auth"]["spec"]["ports"]] == ["http"]


def test_an_empty_list_of_callers_does_not_let_everybody_in() -> None:
    [policy] = of_kind(render(CHART, "--set", "networkPolicy.from=null"), "NetworkPolicy")
    [emptied] = of_kind(render(CHART, "--set-json", "networkPolicy.from=[]"), "NetworkPolicy")

    for one in (policy, emptied):
        assert all(rule["from"] for rule in one["spec"]["ingress"])


def test_a_name_in_the_values_that_the_chart_does_not_know_is_refused() -> None:
    done = helm("template", "gate", CHART, "--set", "replicas=3")

    assert done.returncode != 0
    assert "replicas" in done.stderr


def test_the_chart_passes_helms_own_linter() -> None:
    done = helm("lint", "--strict", CHART)

    assert done.returncode == 0, done.stdout


def test_every_value_has_its_place_in_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    assert set(values) == set(schema["properties"]) - {"global"}


def test_chart_and_overlays_name_the_version_of_the_program() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    tags = [
        yaml.safe_load((OVERLAYS / name / "kustomization.yaml").read_text(encoding="utf-8"))["images"][0]["newTag"]
        for name in ("stand-alone", "sidecar")
    ]

    assert [chart["version"], chart["appVersion"], *tags] == [__version__] * 4


def test_the_sidecar_of_the_official_chart_is_the_one_of_the_kustomization() -> None:
    values = yaml.safe_load((FOR_AIRFLOW / "sidecar.yaml").read_text(encoding="utf-8"))
    [(_, component)] = ours(rendered("sidecar"))

    [container] = values["apiServer"]["extraContainers"]
    assert container == component
    ports = {str(port["containerPort"]) for port in container["ports"]} | {"8080"}
    assert {port["port"] for port in values["apiServer"]["service"]["ports"]} <= ports


@pytest.mark.parametrize("name", ["sidecar", "plugin"])
def test_values_for_the_official_chart_have_no_secret_in_them(name: str) -> None:
    values = yaml.safe_load((FOR_AIRFLOW / f"{name}.yaml").read_text(encoding="utf-8"))

    named = [entry for entry in values["apiServer"].get("env", []) if "value" in entry]

    assert values["jwtSecretName"] == "compat-auth"
    assert named == []
    # Each component of Airflow would get it, and with it the code of every DAG.
    assert "secret" not in values
