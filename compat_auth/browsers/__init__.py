"""Browsers in front of the gate: led to the login page, kept logged in, logged out with the upstream.

Imports: `gateway`, `web` and below.
"""
