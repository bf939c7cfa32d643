"""Usage: who uses which backend for which operation, counted in memory and stored by day; and the report about it.

`recorder` counts one request, with the names that `clients`, `networks` and `operations` make; `evidence` reads what is
stored, `report` and `forecast` summarise it, `suggestion` finds the scopes that cover it.

Imports: `airflow_api`, `store`, `http`, `telemetry`, the vocabulary and the tools.
"""
