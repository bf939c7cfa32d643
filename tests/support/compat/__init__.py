"""Shared by the tests of `compat`."""
