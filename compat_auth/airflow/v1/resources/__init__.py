"""One module for each resource of `/api/v1`: its operations, as calls of `/api/v2`.

Imports: `airflow.v1`, its `mappers` and `validation`, and `crypto`.
"""
