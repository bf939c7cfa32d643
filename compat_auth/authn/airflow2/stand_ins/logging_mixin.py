"""`airflow.utils.log.logging_mixin`: a class with a logger of its own name."""

from __future__ import annotations

import logging
from typing import Any


class LoggingMixin:
    """Gives a class the property `log`."""

    def __init__(self, context: Any = None) -> None:
        del context

    @property
    def log(self) -> logging.Logger:
        """The logger of the class."""
        return logging.getLogger(f"{type(self).__module__}.{type(self).__name__}")

    @property
    def logger(self) -> logging.Logger:
        """The same, by its name of 1.10."""
        return self.log
