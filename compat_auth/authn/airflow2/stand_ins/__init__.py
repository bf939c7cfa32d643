"""The parts of Airflow 2 that an auth module imports and uses: Airflow's configuration, FAB's security manager, its models.

It exists for the site's own modules alone, while they are imported and run. Where Airflow or FAB is installed, the real
names are used, and a stand-in only for a name that they no longer have.

Imports: what `authn` may import.
"""
