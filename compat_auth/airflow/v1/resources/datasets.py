"""Datasets: 3.x calls them assets and identifies them by number, 2.x by URI. No I/O."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from compat_auth.airflow.v1.mappers.datasets import DATASET, DATASET_EVENT, QUEUED_EVENT
from compat_auth.airflow.v1.messages import NO_CONTENT, Answer, Call, Json, Steps, json_reply
from compat_auth.airflow.v1.operation import (
    V2,
    Collection,
    Operation,
    OperationRequest,
    forward,
    missing,
    pages,
    require,
    shaped,
)
from compat_auth.airflow.v1.problems import bad_request, not_found
from compat_auth.airflow.v1.validation.forms import STRING, Field, Form
from compat_auth.airflow.v1.validation.query import PAGE, date, integer, listed, order, text

_ALL = f"{V2}/assets"
_ONE = f"{_ALL}/{{asset_id}}"
_OF_DAG = f"{V2}/dags/{{dag_id}}/assets"
_BEFORE = (date("before"),)
_QUEUED = Collection(QUEUED_EVENT, "queued_events")
_NO_EVENT = "Queue event not found"
_MISSING_OF_URI = (_NO_EVENT, "Queue event with dataset uri: `{uri}` was not found")
_MISSING_OF_DAG = (_NO_EVENT, "Queue event with dag_id: `{dag_id}` was not found")
_MISSING_OF_BOTH = (_NO_EVENT, "Queue event with dag_id: `{dag_id}` and dataset uri: `{uri}` was not found")


def _assets_of(request: OperationRequest, uri: str) -> Generator[Call, Answer, list[Json]]:
    """Return the assets with a URI, lowest number first: in 3.x several may share one."""
    # "_" and "%" in the pattern are wildcards, so compare the URI again here.
    pattern = [("uri_pattern", uri), ("only_active", "false"), ("order_by", "id")]
    found, _, answer = yield from pages(_ALL, pattern, "assets")
    require(request, answer)
    return [asset for asset in found if asset["uri"] == uri]


def _show(request: OperationRequest) -> Steps:
    assets = yield from _assets_of(request, request.named("uri"))
    if not assets:
        raise missing(request)
    return json_reply(DATASET(assets[0]))


def _post_event(request: OperationRequest) -> Steps:
    uri = request.body["dataset_uri"]
    if request.body.get("extra", "") is None:
        raise bad_request("{'extra': ['Field may not be null.']}")
    assets = yield from _assets_of(request, uri)
    if not assets:
        raise not_found("Dataset not found", f"Dataset with uri: '{uri}' not found")
    event = request.call({"asset_id": assets[0]["id"], "extra": request.body.get("extra") or {}})
    does = f"record an event of dataset {assets[0]['id']}"
    answer = yield replace(event, does=does, repeatable=False)
    return shaped(request, answer)


def _once(events: list[Json]) -> list[Json]:
    """Return the oldest event of each dataset and DAG: 2.x stores one, 3.4 all of them."""
    oldest: dict[tuple[str, str], Json] = {}
    for event in events:
        known = oldest.setdefault((event["uri"], event["dag_id"]), event)
        if event["created_at"] < known["created_at"]:
            oldest[event["uri"], event["dag_id"]] = event
    return [*oldest.values()]


def _queued(request: OperationRequest) -> Steps:
    """List the queued events of a DAG: 3.x identifies assets by number."""
    answer = yield request.call()
    require(request, answer)
    events: list[Json] = answer.json()["queued_events"]
    if not events:
        raise missing(request)
    uris: dict[int, str] = {}
    for event in events:
        number = event["asset_id"]
        if number not in uris:
            asset = yield Call("GET", request.path(_ONE, asset_id=str(number)))
            require(request, asset)
            uris[number] = asset.json()["uri"]
    named = [{**event, "uri": uris[event["asset_id"]]} for event in events]
    return json_reply(_QUEUED.document({"queued_events": _once(named)}))


def _queued_of_uri(request: OperationRequest) -> Steps:
    events: list[Json] = []
    uri = request.named("uri")
    for asset in (yield from _assets_of(request, uri)):
        answer = yield request.call_of(asset_id=str(asset["id"]))
        if answer.status == 404:
            continue
        require(request, answer)
        found = answer.json()
        events.extend({**event, "uri": uri} for event in found.get("queued_events", [found]))
    events = _once(events)
    if not events:
        raise missing(request)
    if "dag_id" in request.segments:
        return json_reply(QUEUED_EVENT(events[0]))
    return json_reply(_QUEUED.document({"queued_events": events}))


def _delete_of_uri(request: OperationRequest) -> Steps:
    uri, done = request.named("uri"), 0
    for asset in (yield from _assets_of(request, uri)):
        delete = request.call_of(asset_id=str(asset["id"]))
        answer = yield replace(delete, does=f"delete the events queued for asset {asset['id']}")
        if answer.status == 404:
            continue
        require(request, answer)
        done += 1
    if not done:
        raise missing(request)
    return NO_CONTENT


OPERATIONS = (
    Operation(
        name="get_datasets",
        method="GET",
        path="/datasets",
        to=f"GET {_ALL}",
        query=(
            *PAGE,
            order("id", id="", uri="", created_at="", updated_at=""),
            text("uri_pattern"),
            listed("dag_ids"),
        ),
        shape=Collection(DATASET, "datasets", "assets"),
        code=lambda request: forward(request, query=[*request.query.sent, ("only_active", "false")]),
    ),
    Operation(
        name="get_dataset",
        method="GET",
        path="/datasets/{uri}",
        to=f"GET {_ALL}",
        shape=DATASET,
        code=_show,
        missing=("Dataset not found", "The Dataset with uri: `{uri}` was not found"),
    ),
    Operation(
        name="get_dataset_events",
        method="GET",
        path="/datasets/events",
        to=f"GET {_ALL}/events",
        query=(
            *PAGE,
            order(
                "timestamp",
                source_dag_id="",
                source_task_id="",
                source_run_id="",
                source_map_index="",
                timestamp="",
            ),
            integer("dataset_id", "asset_id", ignore_zero=True),
            text("source_dag_id"),
            text("source_task_id"),
            text("source_run_id"),
            integer("source_map_index", ignore_zero=True),
        ),
        shape=Collection(DATASET_EVENT, "dataset_events", "asset_events"),
    ),
    Operation(
        name="create_dataset_event",
        method="POST",
        path="/datasets/events",
        to=f"POST {_ALL}/events",
        form=Form({"dataset_uri": STRING, "extra": Field("object", null=True)}, described_as_required=("dataset_uri",)),
        shape=DATASET_EVENT,
        code=_post_event,
    ),
    Operation(
        name="get_dag_dataset_queued_events",
        method="GET",
        path="/dags/{dag_id}/datasets/queuedEvent",
        to=f"GET {_OF_DAG}/queuedEvents",
        query=_BEFORE,
        shape=_QUEUED,
        code=_queued,
        missing=_MISSING_OF_DAG,
    ),
    Operation(
        name="delete_dag_dataset_queued_events",
        method="DELETE",
        path="/dags/{dag_id}/datasets/queuedEvent",
        to=f"DELETE {_OF_DAG}/queuedEvents",
        query=_BEFORE,
        missing=_MISSING_OF_DAG,
    ),
    Operation(
        name="get_dag_dataset_queued_event",
        method="GET",
        path="/dags/{dag_id}/datasets/queuedEvent/{uri}",
        to=f"GET {_OF_DAG}/{{asset_id}}/queuedEvents",
        query=_BEFORE,
        shape=QUEUED_EVENT,
        code=_queued_of_uri,
        missing=_MISSING_OF_BOTH,
    ),
    Operation(
        name="delete_dag_dataset_queued_event",
        method="DELETE",
        path="/dags/{dag_id}/datasets/queuedEvent/{uri}",
        to=f"DELETE {_OF_DAG}/{{asset_id}}/queuedEvents",
        query=_BEFORE,
        code=_delete_of_uri,
        missing=_MISSING_OF_BOTH,
    ),
    Operation(
        name="get_dataset_queued_events",
        method="GET",
        path="/datasets/queuedEvent/{uri}",
        to=f"GET {_ONE}/queuedEvents",
        query=_BEFORE,
        shape=_QUEUED,
        code=_queued_of_uri,
        missing=_MISSING_OF_URI,
    ),
    Operation(
        name="delete_dataset_queued_events",
        method="DELETE",
        path="/datasets/queuedEvent/{uri}",
        to=f"DELETE {_ONE}/queuedEvents",
        query=_BEFORE,
        code=_delete_of_uri,
        missing=_MISSING_OF_URI,
    ),
)
