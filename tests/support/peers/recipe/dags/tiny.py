"""Two DAGs that parse on Airflow 2 and on Airflow 3."""

# pyright: basic, reportMissingImports=false
# mypy: disable-error-code=untyped-decorator
# Read by a peer's own Python, where Airflow is installed; the project's environment has none.
import datetime as dt

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


@task
def say_hello() -> str:
    """Return a greeting."""
    return "hello"


@dag(dag_id="tiny", schedule=None, start_date=START, catchup=False, params={"n": 1}, tags=["peer"])
def tiny() -> None:
    """Run by hand only."""
    say_hello()


@dag(dag_id="tiny_daily", schedule="@daily", start_date=START, catchup=False, tags=["peer", "daily"])
def tiny_daily() -> None:
    """Run every day, if a scheduler were there."""
    say_hello()


tiny()
tiny_daily()
