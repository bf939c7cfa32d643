"""Shared by the tests of `security`."""
