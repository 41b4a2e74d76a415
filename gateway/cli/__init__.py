"""The `xinyi` command: every part of the gateway from a terminal."""

import os
import sys
import traceback

from gateway.cli.status import FAILURE

__all__ = ["main"]


def main() -> None:
    """Runs `xinyi`; a defect shows its traceback, and ends as a failure, not as a mismatch."""
    # What the library has to say of its threads and connections is no news to a person; it reads
    # this while it is imported, hence the import below it.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        from gateway.cli.commands import app  # noqa: PLC0415 - as said above

        app()
    except Exception:  # noqa: BLE001 - nothing is swallowed: it is printed and ends the process
        traceback.print_exc()
        sys.exit(FAILURE)
