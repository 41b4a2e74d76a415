"""The night: each bank entry against a disclosed line, cases for the rest, a proof an account.

A run reads the database as of one moment (`snapshot`), decides (`outcome`, pure) and writes what
was decided in one transaction (`record`). The same moment, day and rules give the same outcome.
"""

from gateway.night.nightly import run
from gateway.night.record import Run, load_run

__all__ = ["Run", "load_run", "run"]
