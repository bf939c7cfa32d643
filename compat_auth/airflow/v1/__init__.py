"""Translates Airflow 2's REST API to calls of `/api/v2` and back. Sans I/O: only `upstream_calls` makes the calls.

`translation` receives a request, `router` and `catalog` find its operation, `operation` describes it, `driver` runs its
steps; `resources` has the operations, `mappers` the objects, `validation` what 2.11 accepts.

Imports: `api`, `gateway` and below.
"""
