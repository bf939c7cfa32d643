#!/bin/bash
# Makes Airflow's tables, lets compat_auth read three of them, and makes the first administrator; safe to run again.
set -euo pipefail
airflow db migrate
python - <<'PYTHON'
import os
from pathlib import Path

from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from sqlalchemy import text

password = Path(os.environ.get("ADMIN_PASSWORD_FILE", "/run/secrets/admin_password")).read_text().strip()
with get_application_builder() as builder:
    manager = builder.sm
    for table in ("ab_user", "ab_role", "ab_user_role"):
        manager.session.execute(text(f"GRANT SELECT ON {table} TO compat_auth"))
    manager.session.commit()
    if manager.find_user(username="admin") is None:
        role = manager.find_role("Admin")
        if not manager.add_user("admin", "Admin", "Istrator", "admin@example.org", role, password=password):
            raise SystemExit("the user admin could not be made; the lines above say why")
PYTHON
