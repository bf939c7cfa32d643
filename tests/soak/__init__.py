"""A soak: mixed credentials through nginx with the lane at three replicas, under random faults. See `run.py`."""
