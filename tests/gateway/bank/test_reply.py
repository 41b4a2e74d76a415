"""Answers in a bank's own format: its batch file come back with a status in each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest
import sqlalchemy as sa

from gateway.store import tables as t
from tests.gateway.payments.desk import ask, batch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.payments.desk import Desk


@pytest.fixture
async def database_url(database_url: str) -> str:
    """A world whose accounts are at a bank with a text file of its own."""
    owner = await asyncpg.connect(database_url)
    await owner.execute("UPDATE bank_accounts SET profile_id = 'cib-batch'")
    await owner.close()
    return database_url


def _folder(desk: Desk) -> Path:
    return desk.gateway.sender.banks.root / "cib-batch"


def _answer(order: bytes, *told: str) -> bytes:
    rows = order.decode("gbk").splitlines()
    return "".join(f"{row}{word}|\r\n" for row, word in zip(rows, told, strict=True)).encode("gbk")


async def _arrive(desk: Desk, content: bytes, name: str = "reply.txt") -> None:
    path = _folder(desk) / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    await desk.gateway.inbox.take_all()


async def _sent_batch(desk: Desk) -> tuple[list[str], bytes]:
    names = list((await desk.submit_all(batch([ask(100), ask(200), ask(300)]))).payments)
    for name in names:
        await desk.sign_by_both(name)
    await desk.gateway.work()
    (path,) = (_folder(desk) / "out").iterdir()
    return names, path.read_bytes()


async def test_each_row_moves_its_own_payment(desk: Desk) -> None:
    names, order = await _sent_batch(desk)

    await _arrive(desk, _answer(order, "PAYOUT|成功", "FAIL|户名不符", "SUBMIT_SUCC|"))

    assert await desk.states(names) == ["SETTLED", "REJECTED", "SENT"]


async def test_a_later_answer_goes_on_from_the_first(desk: Desk) -> None:
    names, order = await _sent_batch(desk)
    await _arrive(desk, _answer(order, "PAYOUT|", "SUBMIT_SUCC|", "SUBMIT_SUCC|"))

    await _arrive(desk, _answer(order, "PAYOUT|", "PAYOUT|", "FAIL|账号不存在"), "later.txt")

    assert await desk.states(names) == ["SETTLED", "SETTLED", "REJECTED"]


async def test_an_answer_that_repeats_no_file_of_ours_is_quarantined(desk: Desk) -> None:
    names, order = await _sent_batch(desk)
    answer = _answer(order, "PAYOUT|", "PAYOUT|", "PAYOUT|")

    await _arrive(desk, answer.replace(b"|1.00|", b"|1.01|"))

    held = t.quarantined_files
    ((reason, detail, profile_id),) = await desk.rows(
        sa.select(held.c.reason, held.c.detail, held.c.profile_id)
    )
    assert (reason, profile_id) == ("FILE_UNREADABLE", "cib-batch")
    assert detail.startswith("row_differs at line 1")
    assert await desk.states(names) == ["SENT"] * 3


async def test_an_answer_of_another_bank_is_none(desk: Desk) -> None:
    """The same bytes in another bank's folder are no answer to what this bank was sent."""
    names, order = await _sent_batch(desk)
    path = desk.gateway.sender.banks.root / "demo" / "in" / "reply.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(_answer(order, "PAYOUT|", "PAYOUT|", "PAYOUT|"))

    await desk.gateway.inbox.take_all()

    assert await desk.states(names) == ["SENT"] * 3
