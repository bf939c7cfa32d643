"""What is particular to Apache Airflow 3."""
