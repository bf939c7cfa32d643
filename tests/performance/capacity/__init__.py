"""How much a large site needs: a model of measured costs, and a simulation that real replicas check. See `run.py`."""
