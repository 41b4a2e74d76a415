"""The night: each bank entry against a disclosed line, cases for the rest, a proof an account.

A run reads the database as of one moment into an archive (`snapshot`), the kernel works on it shard
by shard (`reconciliation.shards`), what is decided (`outcome`, pure) is written a shard at a time
(`writing`), with a link of each account's chain of proofs (`proofs`, pure). The same moment, day
and rules give the same outcome, which `xinyi reconcile replay` shows.
"""

from gateway.night.nightly import Nights
from gateway.night.record import Run, list_runs, load_run, rule_records
from reconciliation.rules import RuleRecord

__all__ = ["Nights", "RuleRecord", "Run", "list_runs", "load_run", "rule_records"]
