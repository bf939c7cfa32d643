"""A second Airflow 2.11, for tests that each want it configured in another way."""

from collections.abc import Callable, Iterator

import pytest

from support.peers import seed
from support.peers.airflows import Airflow2

Airflow2As = Callable[..., Airflow2]
"""`airflow2_as(auth_backends=…, auth_role_public=…, **env)`: restarted only when the last wish was another."""


@pytest.fixture(scope="session")
def airflow2_as(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow2As]:
    """Airflow 2.11 with the wished configuration, on its own database; the next wish replaces it."""
    airflow = Airflow2(seed.AIRFLOW2, tmp_path_factory.mktemp("airflow2_as"))
    last: dict[str, str | None] = {}

    def running(*, auth_backends: str, auth_role_public: str | None, **env: str | None) -> Airflow2:
        wish = {"auth_backends": auth_backends, "auth_role_public": auth_role_public, **env}
        if wish != last or airflow.process.pid is None:
            airflow.restart(auth_backends=auth_backends, auth_role_public=auth_role_public, **env)
            last.clear()
            last.update(wish)
        return airflow

    yield running
    airflow.stop()
