"""A file with an Airflow DAG that cannot be read."""

raise RuntimeError("broken on purpose")
