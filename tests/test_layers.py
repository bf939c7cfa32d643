"""A module imports only from rows above its own; the backends come in by the public door."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = "compat_auth"
OURS = "compat_auth_backends"

# Top to bottom, as a request travels. A new module takes its place here first.
ROWS = (
    ("limits, and what is limited", {"scopes", "shown_challenges", "shown_names", "token_format"}),
    ("settings of an old Airflow", {"old_settings"}),
    ("switch inside Airflow", {"airflow", "airflow.closed_door", "airflow.switch"}),
    ("plugin of Airflow", {"airflow.plugin"}),
    (
        "words",
        {
            "accident",
            "airflow2_notes",
            "airflow_paths",
            "answer_deadline",
            "body_parser",
            "connection_clocks",
            "audit",
            "bearer",
            "csrf",
            "errors",
            "hashing",
            "identity",
            "identity_headers",
            "joined_writes",
            "upstream_connection",
            "problem",
            "reach_tables",
            "reach_tables_v1",
            "scope_bundles",
            "shown_headers",
            "strict_json",
            "systemd_notify",
            "trust",
            "verified",
            "worker_states",
        },
    ),
    ("sources of a site's modules", {"airflow2_source"}),
    ("imports of a site's modules", {"airflow2_imports"}),
    ("values of settings, and files that are believed", {"config.fields", "file_modes"}),
    (
        "sections",
        {"config.backends", "config.directories", "config.gateway", "config.openid", "config.personal_tokens"},
    ),
    ("all sections", {"config.settings"}),
    ("mistakes in them", {"config.mistakes"}),
    ("from files and environment", {"config.loading"}),
    ("settings", {"config"}),
    (
        "parsed at the edge",
        {
            "claimed_token",
            "credentials",
            "cross_origin",
            "headers",
            "http_question",
            "jwk",
            "navigation",
            "one_at_a_time",
            "last_answer",
            "outcome",
            "password_file",
            "paths",
            "private_file",
            "token_claims",
            "token_text",
            "reach_bodies",
            "recurring",
            "refusal",
            "requirements",
            "token_cache",
            "turns",
            "upstream_address",
            "user_identity",
        },
    ),
    (
        "parts",
        {
            "asgi",
            "audit_losses",
            "directory",
            "endpoint",
            "guard",
            "hash_pool",
            "key_file",
            "outage",
            "peppers",
            "profiles",
            "reach",
            "root_path",
            "single_flight",
            "sign_in",
            "slashes",
            "subject_links",
            "tally",
            "token_request",
            "tokens",
            "trusted_keys",
        },
    ),
    (
        "contract",
        {
            "backend",
            "client_watch",
            "connection_bounds",
            "directory_catalog",
            "fetched_document",
            "held_body",
            "keys",
            "last_answers",
            "permission",
            "verdict_cache",
            "webhook",
        },
    ),
    ("a connection among many", {"bounded_protocol", "open_files"}),
    ("a strict one", {"protocol"}),
    ("a process that has them", {"worker"}),
    ("and its parent", {"supervisor"}),
    ("sealed", {"safe_next", "session_cookie"}),
    ("shared with other processes", {"redis_connection", "sealed_box"}),
    ("what they share", {"redis_channel", "shared_verdicts"}),
    ("databases", {"postgresql"}),
    ("another database, by the same rules", {"mysql"}),
    ("what is no longer good", {"refused_tokens", "revocation"}),
    ("file of the tables", {"store", "store.sqlite_file"}),
    ("tables", {"store", "store.schema", "store.database", "store.migrations", "store.migrations.versions"}),
    ("what is denied", {"store.denial_rows"}),
    (
        "store",
        {
            "store.backup",
            "store.migration",
            "store.personal_token_rows",
            "store.pinned_subjects",
            "store.session_rows",
            "store.role_account_rows",
            "store.token_use_rows",
        },
    ),
    ("a backup in the place of the store", {"store.restore"}),
    (
        "migrations",
        {
            "store.migrations.env",
            "store.migrations.versions.r0001_sessions",
            "store.migrations.versions.r0002_personal_tokens",
            "store.migrations.versions.r0003_denied_tokens",
        },
    ),
    ("names that are reserved", {"role_account_names"}),
    (
        "kinds of backends",
        {
            "airflow2_module",
            "chain",
            "denials",
            "exchange",
            "jwks_cache",
            "legacy",
            "live_sessions",
            "lookup",
            "pinned_links",
            "server",
            "testing",
        },
    ),
    ("asking them", {"judgement"}),
    ("a client's server", {"client.origin"}),
    ("a client's credential", {"client.credential"}),
    ("a client's login", {"client", "client.kerberos", "client.login"}),
    ("a client's token", {"client.keeper"}),
    ("a client's libraries", {"client.curl_line", "client.for_httpx", "client.for_requests", "client.system_keyring"}),
    ("a person's logins", {"client.kept_logins"}),
    ("logging in from a shell", {"client.shell_login"}),
    ("owners of tokens", {"token_guesses", "token_notices", "token_owners", "token_uses", "token_wishes"}),
    ("whose a token is", {"token_recognition"}),
    ("decision", {"decision", "personal_tokens", "registry", "sessions", "strategies"}),
    ("users of the upstream", {"upstream_users"}),
    ("inside Airflow", {"airflow.auth_managers", "airflow.keytab"}),
    ("tokens inside Airflow", {"airflow.in_process"}),
    ("access to tokens", {"leak_reports", "token_access", "token_pruning", "upstream_logout", "upstream_path"}),
    ("what is given", {"given_tokens", "readiness"}),
    ("limits of pages", {"web", "web.attempts", "web.leftovers"}),
    ("look of pages", {"web.page"}),
    ("parts of pages", {"web.account", "web.attempt_cookie", "web.form_token", "web.hand_off", "web.token_form"}),
    ("the end of a login", {"web.arrival"}),
    ("pages for browsers", {"web.login", "web.logout", "web.session_page", "web.sign_in", "web.token_pages"}),
    ("all pages", {"web.site"}),
    ("bodies of endpoints", {"api", "api.token_bodies"}),
    ("endpoints", {"api.leaked_tokens", "api.personal_tokens"}),
    ("parts of a description", {"openapi_parts"}),
    ("all endpoints, described", {"openapi"}),
    ("endpoints of a Flask app", {"api.whoami"}),
    ("taking it back", {"credential_revocation"}),
    ("asking for it", {"extension", "request"}),
    ("other origins", {"origin_headers", "preflight"}),
    ("rules of a gate", {"browser_request", "gate_rules"}),
    ("gate", {"gate"}),
    ("what the upstream answers by itself, and what we are asked for", {"token_credential", "upstream_verdicts"}),
    ("an API to read and try out", {"swagger_ui"}),
    ("bodies that Airflow's server does not get", {"airflow.body_in_doubt"}),
    ("gate inside Airflow", {"airflow.door"}),
    (
        "words of Airflow 2's API",
        {"airflow.v1", "airflow.v1.dates", "airflow.v1.messages", "airflow.v1.negotiation"},
    ),
    (
        "its errors, objects and texts",
        {"airflow.v1.log_text", "airflow.v1.mapper", "airflow.v1.problems", "airflow.v1.schedule", "airflow.v1.tokens"},
    ),
    (
        "its rules",
        {
            "airflow.v1.facts",
            "airflow.v1.forms",
            "airflow.v1.objects",
            *(f"airflow.v1.objects.{name}" for name in ("dags", "datasets", "records", "runs", "stored")),
            "airflow.v1.partial",
            "airflow.v1.query",
        },
    ),
    ("an operation of it, and answers to it", {"airflow.v1.imagined", "airflow.v1.operation"}),
    (
        "families of its operations",
        {
            "airflow.v1.families",
            *(
                f"airflow.v1.families.{name}"
                for name in (
                    "clearing",
                    "config",
                    "connections",
                    "dag_runs",
                    "dags",
                    "datasets",
                    "fab",
                    "logs",
                    "pools",
                    "system",
                    "task_instances",
                    "task_states",
                    "task_tries",
                    "variables",
                    "xcoms",
                )
            ),
        },
    ),
    ("the way to an operation, and what it answers", {"airflow.v1.router", "airflow.v1.schemas"}),
    ("all its operations", {"airflow.v1.catalog", "airflow.v1.driver", "airflow.v1.openapi"}),
    ("the way to the upstream", {"airflow.v1.door", "airflow.v1.preview"}),
    ("Airflow 2's API as an application", {"airflow.v1.translation"}),
    (
        "what stands behind the gate",
        {
            "browser_visits",
            "docs_pages",
            "flask_page",
            "forward_auth",
            "handed_out",
            "oauth_pages",
            "pages",
            "proxy",
            "token_door",
        },
    ),
    ("all of our pages", {"own_pages"}),
    ("composition", {"app", "demo"}),
    ("first lines of the log inside Airflow", {"airflow.start_log"}),
    ("composition inside Airflow", {"airflow.composition"}),
    ("what is found", {"finding", "upstream_probe", "useless_settings"}),
    ("what the upstream says of our tokens", {"minted_probe"}),
    ("what an operator asks", {"cli.operator_log", "cli.options", "diagnosis", "explanation"}),
    ("what an operator opens", {"cli.opened_tokens"}),
    ("parts of verbs", {"cli.pins", "cli.role_accounts"}),
    ("what ends with a user", {"cli.departures"}),
    (
        "verbs",
        {
            f"cli.{verb}"
            for verb in (
                "backends",
                "check",
                "curl",
                "db",
                "demo",
                "explain",
                "keys",
                "login",
                "logout",
                "serve",
                "tokens",
                "users",
            )
        },
    ),
    ("command", {"cli"}),
)
ROW_OF = {f"{CORE}.{name}": number for number, (_, names) in enumerate(ROWS, start=1) for name in names}

# What a third party's backend may build on, and so ours too.
PUBLIC = {
    f"{CORE}.{name}"
    for name in (
        "airflow2_module",
        "backend",
        "config",
        "credentials",
        "csrf",
        "directory",
        "directory_catalog",
        "endpoint",
        "errors",
        "exchange",
        "fetched_document",
        "file_modes",
        "hash_pool",
        "hashing",
        "identity",
        "live_sessions",
        "jwks_cache",
        "lookup",
        "mysql",
        "outage",
        "outcome",
        "password_file",
        "personal_tokens",
        "pinned_links",
        "postgresql",
        "revocation",
        "testing",
        "scopes",
        "session_cookie",
        "sessions",
        "shared_verdicts",
        "sign_in",
        "strict_json",
        "subject_links",
        "tally",
        "token_claims",
        "token_format",
        "token_notices",
        "tokens",
        "upstream_users",
        "user_identity",
        "verdict_cache",
    )
}


def source_files(root: Path, package: str) -> dict[str, Path]:
    """Return every module of a package by its dotted name."""
    files: dict[str, Path] = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


CORE_FILES = source_files(ROOT, CORE)
OUR_FILES = source_files(ROOT / "backends", OURS)


def imported_names(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for each import of ours anywhere in the file; the name is empty for a whole module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield (inner, "") if inner in CORE_FILES or inner in OUR_FILES else (module, alias.name)


def is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_every_module_of_the_core_has_a_row_and_every_row_only_modules() -> None:
    modules = set(CORE_FILES) - {CORE}

    assert modules == set(ROW_OF)


@pytest.mark.parametrize("module", sorted(CORE_FILES))
def test_a_module_imports_only_from_rows_above(module: str) -> None:
    row = ROW_OF.get(module, 0)

    upwards = [
        imported
        for imported, _ in imported_names(CORE_FILES[module])
        if is_inside(imported, CORE) and imported != CORE and ROW_OF.get(imported, len(ROWS)) >= row
    ]

    assert upwards == []


@pytest.mark.parametrize("module", sorted(CORE_FILES))
def test_the_core_knows_no_backend_by_name(module: str) -> None:
    backends = [imported for imported, _ in imported_names(CORE_FILES[module]) if is_inside(imported, OURS)]

    assert backends == []


@pytest.mark.parametrize("module", sorted(OUR_FILES))
def test_a_backend_imports_only_public_names_of_the_core(module: str) -> None:
    private = [
        (imported, name)
        for imported, name in imported_names(OUR_FILES[module])
        if is_inside(imported, CORE) and (imported not in PUBLIC or name.startswith("_"))
    ]

    assert private == []


@pytest.mark.parametrize("module", sorted(CORE_FILES | OUR_FILES))
def test_every_import_is_absolute(module: str) -> None:
    path = (CORE_FILES | OUR_FILES)[module]

    relative = [imported for imported, _ in imported_names(path) if imported.startswith(".")]

    assert relative == []
