"""The nights' certificates: on their way into the log, as a list, and as proofs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.disclosure import log
from gateway.disclosure.lines import fund_currency
from gateway.disclosure.proof_file import Keys, ShownCertificate
from gateway.disclosure.proving import placed, prove, require_logged
from gateway.domain.certificate import Certificate, Details
from gateway.domain.errors import not_found
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

_C = t.night_certificates.c


async def unlogged(conn: AsyncConnection, limit: int) -> Sequence[Row]:
    """Certificates that no log has yet, of each fund by number, with the fund's `trustee_id`."""
    query = (
        sa.select(_C.fund_id, _C.number, _C.entry, t.funds.c.trustee_id)
        .join_from(t.night_certificates, t.funds, t.funds.c.fund_id == _C.fund_id)
        .where(~_C.logged)
        .order_by(_C.fund_id, _C.number)
        .limit(limit)
    )
    return (await conn.execute(query)).all()


async def note_logged(conn: AsyncConnection, rows: Sequence[Row]) -> None:
    """In the transaction that logs them: each is logged once."""
    names = [(row.fund_id, row.number) for row in rows]
    if names:
        which = sa.tuple_(_C.fund_id, _C.number).in_(names)
        await conn.execute(t.night_certificates.update().where(which).values(logged=True))


def log_entry(row: Row) -> log.Entry:
    """The entry of a row of `unlogged`."""
    return log.Entry(log.CERTIFICATE, row.entry, row.fund_id, row.number)


async def list_certificates(
    conn: AsyncConnection, fund_id: str, before: int | None, limit: int
) -> Sequence[Row]:
    """Up to `limit` certificates of a fund, the newest first, those numbered below `before`.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the caller's scope.
    """
    await fund_currency(conn, fund_id)
    query = sa.select(_C.number, _C.entry, _C.created_at).where(_C.fund_id == fund_id)
    if before is not None:
        query = query.where(_C.number < before)
    return (await conn.execute(query.order_by(_C.number.desc()).limit(limit))).all()


async def prove_certificate(
    conn: AsyncConnection, fund_id: str, number: int, witness_keys: Mapping[str, str]
) -> str:
    """The proof file of a certificate, as `prove_line`.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a certificate in the caller's scope;
            NOT_LOGGED in the seconds before the log has it.
    """
    query = sa.select(_C.entry, _C.details).where(_C.fund_id == fund_id, _C.number == number)
    placing = placed(query, log.CERTIFICATE, _C.fund_id, _C.number)
    row = (await conn.execute(placing)).one_or_none()
    name = f"funds/{fund_id}/nightCertificates/{number}"
    if row is None:
        raise not_found(name)
    require_logged(row, name)

    def shown(keys: Keys) -> ShownCertificate:
        return ShownCertificate(
            certificate=Certificate.model_validate_json(row.entry),
            details=Details.model_validate_json(row.details),
            log_key=keys.log,
            sm2_key=keys.sm2,
            witness_keys=keys.witnesses,
        )

    return await prove(conn, row, shown, witness_keys)
