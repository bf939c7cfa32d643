"""OpenID Connect: issuers, discovery, the code flow, introspection, provisioning.

Imports: the public names of docs/reference/python.md.
"""
