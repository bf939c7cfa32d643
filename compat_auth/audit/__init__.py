"""The audit log: one line for each decision, and a count of the lines that could not be written.

`log.record` makes a line, `losses` writes it with its hash from `chain`, `file` opens the file.

Imports: `telemetry`, `compat_auth.errors` and the tools.
"""

from __future__ import annotations

from compat_auth.audit.log import AuditEvent, logger, record

__all__ = ["AuditEvent", "logger", "record"]
