"""PostgreSQL: tables, migrations, and transactions that see only what their caller may see."""

from gateway.store.engine import GATEWAY, Scope, Store, open_store

__all__ = ["GATEWAY", "Scope", "Store", "open_store"]
