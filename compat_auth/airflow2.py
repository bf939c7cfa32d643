"""Airflow 2's backend modules, in both directions: run one in the chain, or make one from a backend of your own.

Airflow 2 named a module with `init_app(app)` and `requires_authentication(function)` in `[api] auth_backends`.
"""

from __future__ import annotations

from compat_auth.authn.airflow2.backend import LegacyBackend
from compat_auth.authn.airflow2.module import airflow2_contract, app_settings

__all__ = [
    "LegacyBackend",
    "airflow2_contract",
    "app_settings",
]
