"""Connections of clients: uvicorn's protocol, made strict and bounded.

`bounds` limits how many there are, `clocks` cuts off slow ones, `uvicorn_protocol` rejects malformed requests.

Imports: `http` and below.
"""
