"""Create the users that the tests know, through FAB itself: run by a peer's own Python."""

# pyright: basic, reportMissingImports=false
# Airflow is installed in the peer's environment only.
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

# user name and password, role, e-mail
USERS = (
    ("admin", "admin", "Admin", "admin@example.com"),
    ("viewer", "viewer", "Viewer", "viewer@example.com"),
    ("disabled", "disabled", "Viewer", "disabled@example.com"),
    ("mixed", "mixed", "Viewer", "Mixed@Example.com"),
    ("jürgen", "pässwörd", "Viewer", "juergen@example.com"),
)


def create_users() -> None:
    """Add every user, and deactivate the one whose name says so."""
    with get_application_builder() as builder:
        manager = builder.sm
        for name, password, role, email in USERS:
            user = manager.add_user(name, name.title(), "Peer", email, manager.find_role(role), password)
            if not user:
                raise SystemExit(f"FAB did not create {name!r}")
            if name == "disabled":
                user.active = False
                manager.update_user(user)


if __name__ == "__main__":
    create_users()
