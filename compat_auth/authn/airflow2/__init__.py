"""Host of unmodified auth backends for Airflow 2: imports them, and runs each as a backend of the chain.

Imports: what `authn` may import.
"""
