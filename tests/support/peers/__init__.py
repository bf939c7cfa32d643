"""Shared by the tests of `peers`."""
