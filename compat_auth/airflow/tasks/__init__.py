"""Tasks as callers inside Airflow: their tokens, their state, and the connection by which a task gets its token.

Imports: `tasks` and all below; of `airflow` only `middleware`.
"""
