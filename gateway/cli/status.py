"""Exit statuses beside 0, which is a clean end."""

from typing import Final

MISMATCH: Final = 1
"""Mismatches were found, or a person said no."""

FAILURE: Final = 2
"""It could not be done."""
