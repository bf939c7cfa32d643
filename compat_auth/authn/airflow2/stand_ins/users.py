"""Users and roles in the shape of FAB's models (`flask_appbuilder.security.sqla.models`): plain objects, no tables."""

from __future__ import annotations

from typing import Any

from compat_auth.directory import DirectoryUser
from compat_auth.identity import Identity

FROM_MODULE = "airflow2_module"
"""Name of the backend in the identity of a user of these; the module's own name replaces it."""


class Role:
    """A role, by its name.

    Attributes:
        name: As Airflow has it.
        permissions: Always empty: Airflow itself knows them, and nothing here decides by them.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.permissions: list[Any] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Role) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name


class User:
    """A user, as a module reads and changes one.

    Attributes:
        id: Key in Airflow's database, or None where it is not known.
        username: As the directory spells it.
        email: E-mail address, or "".
        active: False: Airflow lets the user not in.
        roles: What the module may change; `SecurityManager.update_user` compares.
        directory: Which of our directories knows the user; "" for one that a module has made.
    """

    def __init__(self, **fields: Any) -> None:
        self.id: int | None = None
        self.username = ""
        self.email = ""
        self.first_name = ""
        self.last_name = ""
        self.active = True
        self.roles: list[Role] = []
        self.directory = ""
        self.is_authenticated = True
        self.is_anonymous = False
        for name, value in fields.items():
            setattr(self, name, value)

    @property
    def is_active(self) -> bool:
        """Whether the user may log in."""
        return self.active is True

    @property
    def identity(self) -> Identity | None:
        """Return who this is for the gate; None for a user whom none of our directories has vouched for."""
        if not self.directory:
            return None
        return Identity(
            self.username,
            FROM_MODULE,
            subject=self.username,
            directory=self.directory,
            email=self.email,
            roles=role_names(self),
            upstream_id="" if self.id is None else str(self.id),
        )

    def get_id(self) -> str:
        """Return the text that flask-login stores in a session."""
        return str(self.id) if self.id is not None else self.username

    def get_full_name(self) -> str:
        """Return the first and the last name."""
        return f"{self.first_name} {self.last_name}".strip()

    def __repr__(self) -> str:
        return self.get_full_name() or self.username


def user_of(found: DirectoryUser, directory: str) -> User:
    """Return a user of a directory as a module expects one."""
    return User(
        id=int(found.upstream_id) if found.upstream_id.isdigit() else None,
        username=found.username,
        email=found.email,
        active=found.active,
        roles=[Role(name) for name in found.roles],
        directory=directory,
    )


def role_names(user: Any) -> tuple[str, ...]:
    """Return the names of the roles that a module has given a user, sorted."""
    return tuple(sorted({str(getattr(role, "name", role)) for role in user.roles}))
