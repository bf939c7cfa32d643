"""`compat-auth audit`: what to do with an audit log.

Imports: `audit`, `config` and below, and `compat_auth.cli.context`.
"""
