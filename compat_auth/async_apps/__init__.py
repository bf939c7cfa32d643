"""Asynchronous apps: each of their requests asks the same chain, in our own Flask app, on our own threads.

Imports: `guard`, `sessions` and below.
"""
