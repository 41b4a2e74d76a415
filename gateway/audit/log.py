"""The audit log in the database: written by anybody's transaction, linked by one sealer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.audit.chain import GENESIS, Head, links
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.audit.entry import Entry

SEALED_AT_ONCE: Final = 1000

_TEXTS: Final = (
    "party_id",
    "person_id",
    "fingerprint",
    "peer",
    "method",
    "resource",
    "request_id",
    "request_digest",
    "code",
    "reason",
)
_BYTES: Final = pg.ARRAY(sa.LargeBinary)
_NUMBERS: Final = pg.ARRAY(sa.BigInteger)

_APPEND: Final = sa.text(
    f"INSERT INTO audit_entries (at, digest, {', '.join(_TEXTS)}) "  # noqa: S608 - the names above
    f"SELECT * FROM unnest(:at, :digest, {', '.join(f':{name}' for name in _TEXTS)})"
).bindparams(
    sa.bindparam("at", type_=pg.ARRAY(sa.DateTime(timezone=True))),
    sa.bindparam("digest", type_=_BYTES),
    *(sa.bindparam(name, type_=pg.ARRAY(sa.Text)) for name in _TEXTS),
)

_ONE_SEALER: Final = sa.text(
    "SELECT pg_advisory_xact_lock(hashtextextended('xinyi audit sealer', 0))"
)

# An entry becomes visible when its transaction commits, perhaps behind others that began later: so
# not the highest number seen is remembered, but the oldest transaction that was still at work then.
# A floor above the present transactions comes from another server (pg_dump): all is looked through.
_UNSEALED: Final = sa.text("""
    WITH present AS (SELECT txid_snapshot_xmin(txid_current_snapshot()) AS oldest),
    known AS (
        SELECT CASE WHEN last.floor <= present.oldest THEN last.floor ELSE 0 END AS floor
        FROM present LEFT JOIN LATERAL (
            SELECT floor FROM audit_links ORDER BY sequence DESC LIMIT 1
        ) last ON true
    )
    SELECT e.entry_id, e.digest, e.xact, present.oldest
    FROM audit_entries e, present, known
    WHERE e.xact >= known.floor
        AND NOT EXISTS (SELECT FROM audit_links l WHERE l.entry_id = e.entry_id)
    ORDER BY e.xact, e.entry_id LIMIT :most
""")

_LINK: Final = sa.text("""
    INSERT INTO audit_links (sequence, entry_id, hash, floor)
    SELECT l.sequence, l.entry_id, l.hash, :floor
    FROM unnest(:sequence, :entry_id, :hash) AS l (sequence, entry_id, hash)
""").bindparams(
    sa.bindparam("sequence", type_=_NUMBERS),
    sa.bindparam("entry_id", type_=_NUMBERS),
    sa.bindparam("hash", type_=_BYTES),
    sa.bindparam("floor", type_=sa.BigInteger),
)


async def append(conn: AsyncConnection, entries: Sequence[Entry]) -> None:
    """Adds entries that are kept if, and only if, the transaction commits. One round trip."""
    columns = {name: [getattr(entry, name) for entry in entries] for name in ("at", *_TEXTS)}
    await conn.execute(_APPEND, {**columns, "digest": [entry.digest for entry in entries]})


async def seal(conn: AsyncConnection) -> int:
    """Links what is visible and not linked yet; the transaction must be the gateway's own.

    Returns:
        How many entries were linked, at most `SEALED_AT_ONCE`.
    """
    await conn.execute(_ONE_SEALER)
    rows = (await conn.execute(_UNSEALED, {"most": SEALED_AT_ONCE})).all()
    if not rows:
        return 0
    made = links(await head_of(conn), [row.digest for row in rows])
    whole = len(rows) < SEALED_AT_ONCE
    await conn.execute(
        _LINK,
        {
            "sequence": [link.sequence for link in made],
            "entry_id": [row.entry_id for row in rows],
            "hash": [link.hash for link in made],
            "floor": rows[0].oldest if whole else min(rows[0].oldest, rows[-1].xact),
        },
    )
    return len(rows)


async def head_of(conn: AsyncConnection) -> Head:
    """The newest link."""
    table = t.audit_links
    query = sa.select(table.c.sequence, table.c.hash).order_by(table.c.sequence.desc()).limit(1)
    row = (await conn.execute(query)).one_or_none()
    return GENESIS if row is None else Head(row.sequence, row.hash)


async def has(conn: AsyncConnection, head: Head) -> bool:
    """Whether the chain goes through this link."""
    table = t.audit_links
    query = sa.select(table.c.hash).where(table.c.sequence == head.sequence)
    return head == GENESIS or await conn.scalar(query) == head.hash
