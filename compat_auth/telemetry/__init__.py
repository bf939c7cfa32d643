"""Metrics, traces, the access log and request ids: for the operator.

`families` names the metrics, `counts` holds the numbers of this process, `shared` joins those of all workers, and
`exposition` writes them for Prometheus.

Imports: `compat_auth.errors` and the tools.
"""
