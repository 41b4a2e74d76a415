"""The night's certificate: every entry of the bank once, and what became of it to the fen."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.domain.certificate import Certificate, Details, contradiction
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.night.world import DAY, TODAY

if TYPE_CHECKING:
    from gateway.store import Row
    from tests.gateway.night.world import World


async def rows_of(world: World, fund_id: str = "f1") -> list[Row]:
    query = sa.select(t.night_certificates).where(t.night_certificates.c.fund_id == fund_id)
    async with world.store.transaction(GATEWAY) as conn:
        return list((await conn.execute(query.order_by(t.night_certificates.c.number))).all())


async def certified(world: World, fund_id: str = "f1") -> list[tuple[Certificate, Details]]:
    """Every certificate of a fund; none contradicts what it sums up, each follows on the last."""
    made: list[tuple[Certificate, Details]] = []
    previous = ""
    for row in await rows_of(world, fund_id):
        certificate = Certificate.model_validate_json(row.entry)
        details = Details.model_validate_json(row.details)
        assert contradiction(certificate, details) == ""
        assert (certificate.entry(), details.content()) == (row.entry, row.details)
        assert (certificate.previous, certificate.number) == (previous, str(len(made) + 1))
        previous = sha256(row.entry).hexdigest()
        made.append((certificate, details))
    return made


async def test_an_entry_that_is_matched_is_told_with_its_line(world: World) -> None:
    await world.fund(opening_minor=5000)
    await world.line("f1", 1234, TODAY, reference="R1")
    await world.statement("f1", TODAY, [{"amount_minor": 1234, "reference": "R1"}])
    await world.reconcile()

    ((certificate, details),) = await certified(world)

    (entry,), (match,) = details.came, details.matches
    assert (entry.amount_minor, entry.date) == ("1234", TODAY.isoformat())
    assert [part.id for part in match.entries] == [entry.id]
    assert [(part.id, part.amount_minor) for part in match.lines] == [("2", "1234")]
    assert (details.open_entries, details.open_lines) == ((), ())
    (account,) = certificate.accounts
    assert (account.account, account.difference_minor, account.proved) == ("main", "0", "yes")


async def test_what_is_open_is_told_each_night_with_its_age_until_it_is_matched(
    world: World,
) -> None:
    await world.fund()
    await world.statement("f1", TODAY, [{"amount_minor": 700, "reference": "R7"}])
    await world.line("f1", -80, TODAY - DAY)
    await world.reconcile()
    world.now += DAY
    await world.statement("f1", TODAY + DAY)
    await world.reconcile(TODAY + DAY)
    world.now += DAY
    await world.statement("f1", TODAY + 2 * DAY)
    await world.line("f1", 700, TODAY, reference="R7")
    await world.reconcile(TODAY + 2 * DAY)

    first, second, third = [details for _, details in await certified(world)]

    (entry,) = first.came
    assert (second.came, third.came) == ((), ())
    assert [(each.id, each.days) for each in first.open_entries] == [(entry.id, "0")]
    assert [(each.id, each.days) for each in second.open_entries] == [(entry.id, "1")]
    assert third.open_entries == ()
    assert [[part.id for part in match.entries] for match in third.matches] == [[entry.id]]
    assert [each.days for each in (*first.open_lines, *third.open_lines)] == ["1", "3"]
    assert first.open_entries[0].kind


async def test_what_a_person_matched_in_part_is_told_with_the_rest_that_is_open(
    world: World,
) -> None:
    await world.fund()
    (entry_id,) = await world.statement("f1", TODAY, [{"amount_minor": 1000}])
    line = await world.line("f1", 600, TODAY)
    await world.decide("f1", {"bank": {entry_id: 600}, "ledger": {str(line.line_number): 600}})
    await world.reconcile()

    ((_, details),) = await certified(world)

    ((match,), (rest,)) = details.matches, details.open_entries
    assert [part.amount_minor for part in match.entries] == ["600"]
    assert rest.amount_minor == "400"


async def test_a_quiet_fund_has_a_certificate_of_nothing_and_a_run_again_another(
    world: World,
) -> None:
    await world.fund()
    await world.fund("f2")
    await world.reconcile()
    await world.reconcile()
    for fund_id in ("f1", "f2"):
        assert len(await certified(world, fund_id)) == 2


async def test_an_entry_that_comes_late_is_in_the_next_certificate(world: World) -> None:
    await world.fund()
    await world.statement("f1", TODAY - DAY, [{"amount_minor": 5}])
    await world.reconcile()
    await world.statement("f1", TODAY - 3 * DAY, [{"amount_minor": 9}])
    await world.reconcile()
    assert [[each.amount_minor for each in d.came] for _, d in await certified(world)] == [
        ["5"],
        ["9"],
    ]


async def test_a_statement_of_tomorrow_waits_for_its_own_night(world: World) -> None:
    await world.fund()
    world.now += DAY
    await world.statement("f1", TODAY + DAY, [{"amount_minor": 5}])
    await world.reconcile(TODAY)
    ((_, details),) = await certified(world)
    assert (details.came, details.open_entries) == ((), ())


async def test_a_certificate_names_nobody(world: World) -> None:
    await world.fund()
    seeded = ("欧阳小明", "6222020200112233445", "13800138000")
    named = {"counterparty_name": seeded[0], "counterparty_account": seeded[1], "text": seeded[2]}
    await world.line("f1", 1234, TODAY, summary=seeded[2], counterparty_name=seeded[0])
    await world.statement(
        "f1", TODAY, [{"amount_minor": 1234, **named}, {"amount_minor": 7, **named}]
    )
    await world.reconcile()
    (row,) = await rows_of(world)
    for text in (row.entry.decode(), row.details.decode()):
        assert not any(each in text for each in seeded)
        assert "e00000" not in text


async def test_another_amount_number_or_entry_contradicts(world: World) -> None:
    await world.fund()
    await world.line("f1", 1234, TODAY, reference="R1")
    await world.statement(
        "f1", TODAY, [{"amount_minor": 1234, "reference": "R1"}, {"amount_minor": 7}]
    )
    await world.reconcile()
    ((certificate, details),) = await certified(world)

    def changed(**fields: object) -> str:
        """With a digest that fits, so that only the sums can tell."""
        other = Details.model_validate({**json.loads(details.content()), **fields})
        fitting = certificate.model_copy(
            update={
                "details_sha256": sha256(other.content()).hexdigest(),
                "totals": other.totals(),
            }
        )
        assert contradiction(certificate, other)
        return contradiction(fitting, other)

    told = json.loads(details.content())
    assert "neither matched nor open" in changed(open_entries=[])
    assert "neither matched nor open" in changed(matches=[])
    lines = [{**told["matches"][0]["lines"][0], "amount_minor": "1"}]
    assert "different sums" in changed(matches=[{**told["matches"][0], "lines": lines}])
    assert "another certificate" in changed(number="2")
