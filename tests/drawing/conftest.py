"""The loaded tiny bases that this room draws with."""

from tests.drawing.bases import base, bases

__all__ = ["base", "bases"]
