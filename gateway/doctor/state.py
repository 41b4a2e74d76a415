"""What waits for a person: nights, quarantine, files in doubt, banks that no profile fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from adapters.reach import Banks
from gateway.doctor.finding import fail, ok, warn
from gateway.observe.figures import read_figures
from gateway.payments.transmissions import Stage
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.doctor.finding import Finding
    from gateway.observe.figures import Figures, Night
    from gateway.settings import Settings


async def examine(
    conn: AsyncConnection, settings: Settings, now: datetime
) -> AsyncIterator[Finding]:
    """Everything that the gateway's own records tell."""
    yield await _operator(conn)
    known = frozenset(Banks(settings.banks_dir, settings.profiles_dir).ids())
    yield await _profiles(conn, known)
    for finding in judge(await read_figures(conn, now, known, settings.night_at)):
        yield finding


async def _operator(conn: AsyncConnection) -> Finding:
    if await conn.scalar(sa.select(sa.exists(sa.select(t.persons.c.person_id)))):
        return ok("registered", "已有登记人员", "people are registered")
    return warn(
        "registered",
        ("尚无任何人登记", "nobody is registered yet"),
        ("xinyi found 登记首位运维", "xinyi found registers the first operator"),
    )


async def _profiles(conn: AsyncConnection, known: frozenset[str]) -> Finding:
    """Whether each bank account names a bank that this gateway can speak to."""
    used = set(await conn.scalars(sa.select(t.bank_accounts.c.profile_id).distinct()))
    lost = ", ".join(sorted(used - known))
    if not lost:
        told = ", ".join(sorted(used)) or "-"
        return ok("accounts", told, told)
    return fail(
        "accounts",
        (
            f"银行账户所用接口不存在：{lost}",
            f"bank accounts name profiles that are not there: {lost}",
        ),
        ("在 XINYI_PROFILES_DIR 中补上", "put them into XINYI_PROFILES_DIR"),
    )


def judge(figures: Figures) -> Iterator[Finding]:
    """What the figures of this moment mean."""
    yield _night(figures.night)
    yield _proofs(figures.night)
    yield _quarantine(figures.quarantined_file_count)
    yield _doubt(_waiting(figures, Stage.IN_DOUBT), figures.unknown_payment_count)
    yield _stuck(_waiting(figures, Stage.STUCK), _waiting(figures, Stage.BY_HAND))


def _waiting(figures: Figures, stage: Stage) -> int:
    return sum(outbox.counts[stage] for outbox in figures.outboxes.values())


def _night(night: Night) -> Finding:
    last = str(night.last_day or "-")
    if not night.due_day_count:
        return ok("night", f"已对账至 {last}", f"reconciled up to {last}")
    what = (
        f"有 {night.due_day_count} 天应对账而未对，已对至 {last}",
        f"days to reconcile: {night.due_day_count}; the last that is done: {last}",
    )
    todo = (
        "网关运行时会自行补上；若仍不动，看日志与 xinyi run list",
        "a running gateway makes up for them; if it does not, see its log and xinyi run list",
    )
    # One day is due every morning until its run has ended.
    return warn("night", what, todo) if night.due_day_count == 1 else fail("night", what, todo)


def _proofs(night: Night) -> Finding:
    count = night.unproved_account_count
    if not count:
        return ok("proofs", "余额均已核实", "every balance is proved")
    return warn(
        "proofs",
        (f"{count} 个账户余额未能核实", f"accounts whose balance is not proved: {count}"),
        ("xinyi run proofs 列出原因", "xinyi run proofs tells why"),
    )


def _quarantine(count: int) -> Finding:
    if not count:
        return ok("quarantine", "无隔离文件", "no file is in quarantine")
    return warn(
        "quarantine",
        (
            f"{count} 份银行文件被隔离，其内容未入账",
            f"bank files that could not be taken in: {count}",
        ),
        ("xinyi bank quarantine 列出原因", "xinyi bank quarantine tells why"),
    )


def _doubt(files: int, payments: int) -> Finding:
    if not files and not payments:
        return ok("in_doubt", "无去向不明的付款", "of every payment the outcome is known or due")
    return warn(
        "in_doubt",
        (
            f"{files} 份报文、{payments} 笔付款不知银行是否收到或已付",
            f"nobody knows whether the bank has them: files {files}, payments {payments}",
        ),
        (
            "切勿另行递交；等银行回执或对账单，xinyi bank transmissions 列出",
            "never hand them over again, the bank decides: xinyi bank transmissions",
        ),
    )


def _stuck(stuck: int, by_hand: int) -> Finding:
    if not stuck and not by_hand:
        return ok("outbox", "无待人处理的报文", "no file waits for a person")
    return warn(
        "outbox",
        (
            f"{stuck} 份报文被拒收，{by_hand} 份手工递交待确认",
            f"files refused: {stuck}; handed over by hand, not confirmed: {by_hand}",
        ),
        ("xinyi bank transmissions 说明如何处理", "xinyi bank transmissions tells what to do"),
    )
