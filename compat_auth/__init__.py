"""Old clients keep the login they have; the new API gets the JWT it wants."""

__version__ = "0.1.0"
