"""Workloads: jobs, pods and machines that come in with a token of their platform; the backend is in `backend`.

Imports: the public names of docs/reference/python.md.
"""
