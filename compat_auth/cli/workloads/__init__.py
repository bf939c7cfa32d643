"""`compat-auth workloads`: rules for the tokens of platforms.

Imports: `authn`, `tokens` and below, and `compat_auth.cli.context`.
"""
