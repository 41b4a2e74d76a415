"""The gateway as it would be with a commit for each call: the naive way, to compare with."""

from __future__ import annotations

from gateway.cli.start import serve
from gateway.payments import writers

if __name__ == "__main__":
    writers.GROUP_MAXIMUM = 1  # type: ignore[misc] # what is measured is the lack of it
    serve()
