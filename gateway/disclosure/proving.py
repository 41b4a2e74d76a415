"""Proofs of single entries, from the log in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.disclosure import log
from gateway.disclosure.lines import fund_currency, shown
from gateway.disclosure.proof_file import Keys, ShownLine, written
from gateway.domain.errors import Reason, not_found, precondition
from gateway.store import tables as t
from gateway.transparency.checkpoint import parse_checkpoint
from gateway.transparency.merkle import inclusion_nodes, inclusion_proof
from gateway.transparency.note import parse_note
from gateway.transparency.sm2 import parse_sm2_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.disclosure.proof_file import Shown
    from gateway.store import Row, Select
    from gateway.transparency.note import Note


async def prove_line(
    conn: AsyncConnection, fund_id: str, number: int, witness_keys: Mapping[str, str]
) -> str:
    """The proof file of a line.

    Args:
        conn: a transaction.
        fund_id: the fund.
        number: of the line.
        witness_keys: of the witnesses that are asked, by name.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a line in the caller's scope, NOT_LOGGED
            in the seconds before the log has it, DATA_ERASED once its salt is gone.
    """
    row = await _line(conn, fund_id, number)
    require_logged(row, f"funds/{fund_id}/lines/{number}")

    def told(keys: Keys) -> ShownLine:
        return ShownLine(
            line=shown(row),
            salt=row.salt.bytes.hex(),
            log_key=keys.log,
            sm2_key=keys.sm2,
            witness_keys=keys.witnesses,
        )

    return await prove(conn, row, told, witness_keys)


async def prove(
    conn: AsyncConnection,
    logged: Row,
    told: Callable[[Keys], Shown],
    witness_keys: Mapping[str, str],
) -> str:
    """The proof file of an entry, in the last tree that witnesses have cosigned, or else the last.

    Args:
        conn: a transaction.
        logged: a row of `placed`.
        told: what the owner is shown, with the keys of the log and of the witnesses.
        witness_keys: of the witnesses that are asked, by name.
    """
    note = parse_note(await log.signed_over(conn, logged.log_id, logged.entry_index))
    checkpoint = parse_checkpoint(note.text)
    nodes = inclusion_nodes(logged.entry_index, checkpoint.size)
    read = await log.tree(conn, logged.log_id, checkpoint.size, nodes)
    hashes = inclusion_proof(logged.entry_index, checkpoint.size, read)
    signed_by = {line.name for line in note.signatures}
    witnesses = tuple(key for name, key in sorted(witness_keys.items()) if name in signed_by)
    keys = Keys(logged.key, sm2_key_of(note, logged.sm2_key), witnesses)
    return written(told(keys), logged.entry_index, hashes, note)


def sm2_key_of(note: Note, written_key: str) -> str:
    """The log's SM2 key if it signed this checkpoint; empty where there is no such line."""
    if not written_key:
        return ""
    key = parse_sm2_key(written_key)
    return written_key if key.key_id in {line.key_id for line in note.signatures} else ""


async def fund_checkpoint(conn: AsyncConnection, fund_id: str) -> tuple[str, Keys]:
    """The last checkpoint of the log that has the fund's lines, and the log's keys.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the caller's scope, NOT_LOGGED
            before that log's first line.
    """
    await fund_currency(conn, fund_id)
    query = (
        sa.select(t.logs)
        .join_from(t.logs, t.funds, t.logs.c.log_id == t.funds.c.trustee_id)
        .where(t.funds.c.fund_id == fund_id)
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        message = "nothing of this trust company is logged yet"
        raise precondition(Reason.NOT_LOGGED, f"funds/{fund_id}", message)
    checkpoint = await log.signed(conn, row.log_id)
    return checkpoint, Keys(row.key, sm2_key_of(parse_note(checkpoint), row.sm2_key))


async def _line(conn: AsyncConnection, fund_id: str, number: int) -> Row:
    lines = t.disclosed_lines
    query = (
        sa.select(lines, t.funds.c.currency)
        .join_from(lines, t.funds, lines.c.fund_id == t.funds.c.fund_id)
        .where(lines.c.fund_id == fund_id, lines.c.line_number == number)
    )
    placing = placed(query, log.LINE, lines.c.fund_id, lines.c.line_number)
    row = (await conn.execute(placing)).one_or_none()
    name = f"funds/{fund_id}/lines/{number}"
    if row is None:
        raise not_found(name)
    if row.salt is None:
        message = "personal data of this line were erased; its entry can no longer be shown"
        raise precondition(Reason.DATA_ERASED, name, message)
    return row


def placed(
    query: Select, kind: str, fund_id: sa.ColumnElement[str], number: sa.ColumnElement[int]
) -> Select:
    """The query with where its rows stand: `log_id`, `entry_index`, and the log's keys.

    They are null where the log has not taken the row yet.

    Args:
        query: of lines or certificates.
        kind: of their entries.
        fund_id: their fund.
        number: of the line or the certificate.
    """
    entries, logs = t.log_entries, t.logs
    theirs = sa.and_(
        entries.c.kind == kind, entries.c.fund_id == fund_id, entries.c.number == number
    )
    return (
        query.outerjoin(entries, theirs)
        .outerjoin(logs, logs.c.log_id == entries.c.log_id)
        .add_columns(entries.c.log_id, entries.c.entry_index, logs.c.key, logs.c.sm2_key)
    )


def require_logged(row: Row, name: str) -> None:
    """Passes if a row of `placed` stands in the log.

    Raises:
        GatewayError: NOT_LOGGED in the seconds before it does.
    """
    if row.log_id is None:
        message = "the log takes what is new every second; ask again"
        raise precondition(Reason.NOT_LOGGED, name, message)
