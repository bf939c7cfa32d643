"""Objects about the installation: event logs, import errors, providers, plugins, version. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.mappers.mapper import Mapper

# The names of 2.11's decorators for these actions.
OLD_EVENTS = {
    "trigger_dag_run": "api.post_dag_run",
    "patch_dag": "api.patch_dag",
    "post_variable": "api.variable.create",
    "patch_variable": "api.variable.edit",
    "delete_variable": "api.variable.delete",
    "post_connection": "api.connection.create",
    "patch_connection": "api.connection.edit",
    "delete_connection": "api.connection.delete",
}
EVENT_LOG = Mapper(
    name="EventLog",
    same=("event_log_id", "dag_id", "task_id", "run_id", "map_index", "try_number", "owner", "extra"),
    dates=("when",),
    renamed_dates={"execution_date": "logical_date"},
    derived={"event": lambda log: OLD_EVENTS.get(log["event"], log["event"])},
    dropped=frozenset(("dag_display_name", "task_display_name")),
    used=frozenset(("event",)),
)
IMPORT_ERROR = Mapper(
    name="ImportError",
    same=("import_error_id", "filename", "stack_trace"),
    dates=("timestamp",),
    dropped=frozenset(("bundle_name",)),
)
PROVIDER = Mapper(
    name="Provider", same=("package_name", "description", "version"), dropped=frozenset(("documentation_url",))
)
PLUGIN = Mapper(
    name="PluginCollectionItem",
    same=(
        "name",
        "macros",
        "flask_blueprints",
        "appbuilder_views",
        "appbuilder_menu_items",
        "global_operator_extra_links",
        "operator_extra_links",
        "source",
        "listeners",
        "timetables",
    ),
    constant={"hooks": [], "executors": [], "ti_deps": []},
    dropped=frozenset(("fastapi_apps", "fastapi_root_middlewares", "external_views", "react_apps")),
)
VERSION = Mapper(name="VersionInfo", same=("version", "git_version"))
