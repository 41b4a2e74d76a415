"""Whatever comes together in a group ends as if it had come one by one, in any order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.reach import Banks
from gateway.domain.errors import GatewayError
from gateway.payments.approve import read_envelope
from gateway.payments.docket import Asking, By, Signing
from gateway.payments.group import carry_out
from gateway.payments.submit import Ask, Terms
from gateway.payments.vouchers import Voucher, store_voucher
from gateway.store import GATEWAY, Store, open_store
from tests.gateway.conftest import database
from tests.gateway.payments.desk import CONTENT, DIGEST, PAYEE, envelope
from tests.gateway.support import BANK_CODE, CHAIR, CHECKER, FIRM, NOW, OTHER_FIRM, Who

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gateway.payments.docket import Order
    from gateway.payments.group import Outcome
    from gateway.store import Row

_BUDGET_MINOR = 800_000
_WAITING = 3
"""Payments that are there from the beginning, to be signed."""

_asks = st.tuples(
    st.just("ask"), st.integers(1, _BUDGET_MINOR), st.sampled_from([FIRM, OTHER_FIRM])
)
_batches = st.tuples(st.just("batch"), st.lists(st.integers(1, _BUDGET_MINOR // 2), max_size=3))
_signs = st.tuples(
    st.just("sign"), st.integers(0, _WAITING - 1), st.sampled_from([CHAIR, CHECKER, FIRM])
)


class _RollBackError(Exception):
    """Ends a transaction of which nothing is to stay."""


class _Bench:
    """A fund with a few payments that wait for signatures; nothing that a test does stays."""

    def __init__(self, url: str, banks: Banks) -> None:
        self.runner = asyncio.Runner()
        self.store: Store = open_store(url, pool_size=1)
        self.terms = Terms("demo", timedelta(days=7), NOW, banks)
        self.waiting: Sequence[Row] = self.runner.run(self._prepare())

    async def _prepare(self) -> list[Row]:
        voucher = Voucher(DIGEST, "f.pdf", "application/pdf", len(CONTENT), CONTENT)
        async with self.store.transaction(GATEWAY) as conn:
            await store_voucher(conn, "wutong", voucher, NOW)
            order = Asking("wutong", _by(FIRM), tuple(map(_ask, [100] * _WAITING)), is_batch=True)
            (done,) = await carry_out(conn, [order], self.terms)
        assert not isinstance(done, GatewayError)
        return list(done.payments)

    def order(self, drawn: tuple[Any, ...]) -> Order:
        if drawn[0] == "ask":
            return Asking("wutong", _by(drawn[2]), (_ask(drawn[1]),), is_batch=False)
        if drawn[0] == "batch":
            return Asking("wutong", _by(FIRM), tuple(map(_ask, drawn[1] or [1])), is_batch=True)
        payment, who = self.waiting[drawn[1]], drawn[2]
        sent = envelope(payment.payload, who)
        return Signing("wutong", _by(who), payment.payment_id, sent, read_envelope(sent))

    async def told(self, groups: Sequence[Sequence[Order]]) -> list[str]:
        """What becomes of orders in these groups, and of the fund; then it is undone."""
        said: list[str] = []
        try:
            async with self.store.transaction(GATEWAY) as conn:
                for group in groups:
                    said += map(_told, await carry_out(conn, group, self.terms))
                said += [str(tuple(row)) for row in await conn.exec_driver_sql(_SUMS)]
                raise _RollBackError  # noqa: TRY301 - it is how the block ends without a commit
        except _RollBackError:
            return said


def _by(who: Who) -> By:
    return By(who.party_id, who.person_id)


def _ask(amount_minor: int) -> Ask:
    return Ask("某公司", PAYEE, BANK_CODE, amount_minor, "CNY", "维修", "cleaning", (DIGEST,))


def _told(outcome: Outcome) -> str:
    if isinstance(outcome, GatewayError):
        return f"{outcome.reason} {dict(outcome.metadata)}"
    return str([(row.state, row.amount_minor) for row in outcome.payments])


_SUMS = """
    SELECT 'budget', held_minor, spent_minor FROM budget_lines WHERE budget_line_id = 'cleaning'
    UNION ALL SELECT book, total_minor, held_minor FROM books WHERE fund_id = 'wutong'
    UNION ALL SELECT 'fund', last_line_number, running_minor FROM funds WHERE fund_id = 'wutong'
    UNION ALL SELECT state, count(*), sum(amount_minor) FROM payments GROUP BY state
    UNION ALL SELECT state, count(*), sum(amount_minor) FROM transmissions GROUP BY state
    UNION ALL SELECT state || ' event', count(*), 0 FROM payment_events GROUP BY state
    ORDER BY 1, 2, 3
"""


@pytest.fixture(scope="module")
def bench(
    postgres_url: str, world_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Bench]:
    admin = partial(_execute, postgres_url)
    asyncio.run(admin(f"CREATE DATABASE interleaving TEMPLATE {world_template}"))
    directory: Path = tmp_path_factory.mktemp("banks")
    opened = _Bench(database(postgres_url, "interleaving"), Banks(directory))
    yield opened
    opened.runner.run(opened.store.close())
    opened.runner.close()
    asyncio.run(admin("DROP DATABASE interleaving WITH (FORCE)"))


async def _execute(url: str, statement: str) -> None:
    conn = await asyncpg.connect(url)
    await conn.execute(statement)
    await conn.close()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=st.lists(st.one_of(_asks, _batches, _signs), min_size=1, max_size=10), data=st.data())
def test_groups_end_as_one_by_one(
    bench: _Bench, drawn: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    orders = [bench.order(each) for each in drawn]
    cut = data.draw(st.integers(0, len(orders)))
    groups = [group for group in (orders[:cut], orders[cut:]) if group]

    together = bench.runner.run(bench.told(groups))
    alone = bench.runner.run(bench.told([[order] for order in orders]))

    assert together == alone
