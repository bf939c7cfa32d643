"""DAGs with something for every operation of `/api/v1` to show: one file, read by Airflow 2 and by Airflow 3."""

# pyright: basic, reportMissingImports=false, reportUnusedExpression=false, reportAttributeAccessIssue=false
# mypy: disable-error-code=untyped-decorator
# ruff: noqa: AIR311  # where Airflow 2 has it
# Read by a peer's own Python, where Airflow is installed; the project's environment has none.
import datetime as dt

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import Asset, Param, dag, task
except ImportError:
    from airflow.datasets import Dataset as Asset
    from airflow.decorators import dag, task
    from airflow.models.param import Param
    from airflow.operators.empty import EmptyOperator

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
PLAIN = {"start_date": START, "catchup": False}
ORDERS = Asset("s3://bucket/orders/2024?x=1")
STOCK = Asset("urn:stock")


@dag(
    dag_id="plain",
    schedule=None,
    tags=["alpha", "beta"],
    description="Three tasks in a row",
    params={"n": 1, "name": Param("x", type="string", description="A name")},
    dagrun_timeout=dt.timedelta(hours=1, minutes=30),
    max_active_runs=4,
    **PLAIN,
)
def plain() -> None:
    """Return values of several types, one after the other."""

    @task(retries=2, retry_delay=dt.timedelta(seconds=90))
    def number() -> int:
        return 41

    @task
    def words(_before: int) -> dict[str, list[str]]:
        return {"words": ["ä", "b/c"]}

    words(number()).set_downstream(EmptyOperator(task_id="end", pool="default_pool", priority_weight=3))


@dag(dag_id="mapped", schedule=None, tags=["beta"], **PLAIN)
def mapped() -> None:
    """Run one task over three values."""

    @task
    def double(x: int) -> int:
        return 2 * x

    double.expand(x=[1, 2, 3])


@dag(dag_id="failing", schedule=None, **PLAIN)
def failing() -> None:
    """Fail."""

    @task
    def fail() -> None:
        raise ValueError("meant to fail")

    fail()


@dag(dag_id="cron", schedule="0 3 * * *", **PLAIN)
def cron() -> None:
    """Run every night, if a scheduler were there."""
    EmptyOperator(task_id="only")


@dag(dag_id="every_other_day", schedule=dt.timedelta(days=2), **PLAIN)
def every_other_day() -> None:
    """Run every two days, if a scheduler were there."""
    EmptyOperator(task_id="only")


@dag(dag_id="producer", schedule=None, **PLAIN)
def producer() -> None:
    """Say that data has come."""

    @task(outlets=[ORDERS, STOCK])
    def produce() -> None:
        return None

    produce()


@dag(dag_id="consumer", schedule=[ORDERS, STOCK], **PLAIN)
def consumer() -> None:
    """Wait for data."""
    EmptyOperator(task_id="only")


@dag(dag_id="doomed", schedule=None, **PLAIN)
def doomed() -> None:
    """Be deleted."""
    EmptyOperator(task_id="only")


plain()
mapped()
failing()
cron()
every_other_day()
producer()
consumer()
doomed()
