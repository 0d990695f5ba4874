"""Finds what is done when in a long recording."""

from __future__ import annotations

BACKGROUND = "nothing"
