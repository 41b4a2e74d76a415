"""PostgreSQL: tables, migrations, and transactions that see only what their caller may see."""

from gateway.store.arrays import among, given
from gateway.store.engine import (
    GATEWAY,
    Row,
    Scope,
    Select,
    Store,
    application_url,
    bind,
    finished,
    narrow,
    open_store,
    scope_of,
)

__all__ = [
    "GATEWAY",
    "Row",
    "Scope",
    "Select",
    "Store",
    "among",
    "application_url",
    "bind",
    "finished",
    "given",
    "narrow",
    "open_store",
    "scope_of",
]
