"""What our wheel asks for, as setup.cfg says: for the environment of an Airflow that it is installed into."""

import configparser
from pathlib import Path

EXTRAS = ("airflow-session", "kerberos", "ldap")
SETUP = Path(__file__).parents[3] / "setup.cfg"


def our_requirements() -> str:
    """Return one requirement on a line, with those of the extras."""
    config = configparser.ConfigParser()
    config.read(SETUP)
    lists = [config["options"]["install_requires"], *(config["options.extras_require"][extra] for extra in EXTRAS)]
    return "".join(f"{line}\n" for text in lists for line in text.strip().splitlines())


if __name__ == "__main__":
    print(our_requirements(), end="")  # noqa: T201  # for tests/support/peers/install
