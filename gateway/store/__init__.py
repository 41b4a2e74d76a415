"""PostgreSQL: tables, migrations, and transactions that see only what their caller may see."""

from gateway.store.engine import GATEWAY, Row, Scope, Select, Store, open_store, rebind

__all__ = ["GATEWAY", "Row", "Scope", "Select", "Store", "open_store", "rebind"]
