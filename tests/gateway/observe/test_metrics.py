"""What monitors read of a gateway at work."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from xinyi.v1 import party_service_pb2 as party
from xinyi.v1 import payment_service_pb2 as pb

from gateway.observe import figures
from gateway.observe.meters import UNKNOWN_METHOD
from gateway.rpc.access import METHODS
from gateway.store import GATEWAY
from tests.gateway.payments.desk import ACCOUNT, PAYEE
from tests.gateway.support import CHAIR, OWNER, failure, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.gateway.observe.conftest import Monitor
    from tests.gateway.payments.desk import Bank, Desk
    from tests.gateway.support import Callers

WHO = "xinyi.v1.PartyService/GetCaller"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are asked anew each time, so that no test waits."""
    monkeypatch.setattr(figures, "_FRESH_S", 0.0)


async def test_calls_are_counted_by_method_and_status(callers: Callers, monitor: Monitor) -> None:
    chair, owner = await callers.as_(CHAIR), await callers.as_(OWNER)
    for _ in range(3):
        await chair.parties.GetCaller(party.GetCallerRequest())
    await refusal(owner.parties.ListParties(party.ListPartiesRequest()))

    assert await monitor.value("xinyi_calls_total", method=WHO, code="OK") == 3
    assert await monitor.value("xinyi_call_seconds_count", method=WHO) == 3
    refused = {"method": "xinyi.v1.PartyService/ListParties", "code": "PERMISSION_DENIED"}
    assert await monitor.value("xinyi_calls_total", **refused) == 1
    assert await monitor.value("xinyi_calls_in_flight") == 0


async def test_streams_are_counted_when_they_end(desk: Desk, monitor: Monitor) -> None:
    """An upload has ended; who watches payments has not, until they hang up."""
    upload = {"method": "xinyi.v1.PaymentService/UploadVoucher", "code": "OK"}
    assert await monitor.value("xinyi_calls_total", **upload) == 1

    await desk.submit()
    watching = (await desk.stub(CHAIR)).WatchPayments(
        pb.WatchPaymentsRequest(parent="funds/wutong")
    )
    await watching.read()
    assert await monitor.value("xinyi_calls_in_flight") == 1
    watching.cancel()
    while await monitor.value("xinyi_calls_in_flight"):
        pass
    watched = {"method": "xinyi.v1.PaymentService/WatchPayments", "code": "CANCELLED"}
    assert await monitor.value("xinyi_calls_total", **watched) == 1


async def test_no_caller_can_make_a_series(callers: Callers, monitor: Monitor) -> None:
    channel: Any = await callers.channel(callers.pki.people[CHAIR])
    for number in range(20):
        error = await failure(channel.unary_unary(f"/xinyi.v1.PartyService/Rob{number}")(b""))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    known = {method.removeprefix("/") for method in METHODS} | {UNKNOWN_METHOD}
    labels = [dict(labels) for _, labels in await monitor.series()]
    assert {each["method"] for each in labels if "method" in each} <= known
    lost = {"method": UNKNOWN_METHOD, "code": "UNIMPLEMENTED"}
    assert await monitor.value("xinyi_calls_total", **lost) == 20


async def test_a_bank_without_a_profile_is_one_of_the_others(desk: Desk, monitor: Monitor) -> None:
    """The bank is what an operator wrote into an account, and that may be anything."""
    await desk.released()
    async with desk.gateway.watch.store.snapshot(GATEWAY) as conn:
        found = await figures.read_figures(conn, desk.clock(), frozenset(), desk.clock().time())
    assert set(found.outboxes) == {figures.OTHER_BANK}
    stage = {"bank": "demo", "stage": "queued"}
    assert await monitor.value("xinyi_outbox_transmissions", **stage) == 1


async def test_the_outbox_tells_its_depth_and_age_until_the_file_is_sent(
    desk: Desk, bank: Bank, monitor: Monitor
) -> None:
    await desk.released()
    desk.clock.moment += timedelta(seconds=90)
    assert await monitor.value("xinyi_outbox_transmissions", bank="demo", stage="queued") == 1
    assert await monitor.value("xinyi_outbox_oldest_age_seconds", bank="demo") == 90

    await desk.gateway.work()
    assert bank.take() == 1
    assert not any(name == "xinyi_outbox_transmissions" for name, _ in await monitor.series())


async def test_payments_of_a_silent_bank_are_counted(desk: Desk, monitor: Monitor) -> None:
    await desk.released()
    await desk.gateway.work()
    assert await monitor.value("xinyi_payments_unknown") == 0
    desk.clock.moment += timedelta(hours=5)
    await desk.gateway.work()
    assert await monitor.value("xinyi_payments_unknown") == 1


async def test_a_file_in_quarantine_is_counted(desk: Desk, bank: Bank, monitor: Monitor) -> None:
    bank.leave("broken.xml", b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'><B")
    await desk.gateway.work()
    assert await monitor.value("xinyi_quarantined_files") == 1


async def test_the_night_is_overdue_until_it_has_run(desk: Desk, monitor: Monitor) -> None:
    assert await monitor.value("xinyi_night_due_days") == 1
    day = desk.clock().date() - timedelta(days=1)
    run = await desk.gateway.nights.run(day, "run-1")
    assert await monitor.value("xinyi_night_due_days") == 0
    assert await monitor.value("xinyi_night_end_timestamp_seconds") == desk.clock().timestamp()
    unproved = run.counts.unproved_account_count
    assert await monitor.value("xinyi_night_unproved_accounts") == unproved


def test_cases_are_told_apart_by_age() -> None:
    today = date(2026, 11, 20)
    found = figures.by_age({today - timedelta(days=n): 1 for n in (0, 1, 2, 7, 8, 30, 31)}, today)
    assert found == {"0-1d": 2, "2-7d": 2, "8-30d": 2, "31d+": 1}


async def test_pool_certificates_and_build_are_told(gateway: Gateway, monitor: Monitor) -> None:
    async with gateway.store.transaction(GATEWAY):
        assert await monitor.value("xinyi_database_connections_in_use") == 1
    assert await monitor.value("xinyi_database_connections_max") == 10
    assert await monitor.value("xinyi_certificate_expiry_timestamp_seconds", file="server") > 0
    assert any(name == "xinyi_build_info" for name, _ in await monitor.series())


async def test_work_that_breaks_is_counted_and_not_told_as_done(
    gateway: Gateway, monitor: Monitor
) -> None:
    with pytest.raises(ZeroDivisionError), gateway.watch.round("night"):
        raise ZeroDivisionError
    with gateway.watch.round("round"):
        pass
    assert await monitor.value("xinyi_work_failures_total", work="night") == 1
    assert await monitor.value("xinyi_work_failures_total", work="round") == 0
    done = {work for name, ((_, work), *_) in _labelled(await monitor.series(), "work_done")}
    assert done == {"round"}


def _labelled(series: Any, part: str) -> Any:
    return [(name, labels) for name, labels in series if part in name and labels]


async def test_without_its_database_the_other_metrics_are_still_there(
    gateway: Gateway, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ConnectionError("host db.example refused 6222020000000001")

    assert gateway.monitor_port
    monkeypatch.setattr(figures, "read_figures", broken)
    text = await monitor.text()
    assert "xinyi_figures_up 0.0" in text
    assert "xinyi_payments_unknown " not in text
    assert "xinyi_database_connections_max 10.0" in text


async def test_nothing_that_is_published_names_anybody(
    desk: Desk, bank: Bank, monitor: Monitor, tmp_path: Path
) -> None:
    await desk.released()
    await desk.gateway.work()
    bank.take()
    bank.close(desk.clock().date())
    await desk.gateway.work()
    published = await monitor.text() + str(await monitor.ready())
    for private in (ACCOUNT, PAYEE, "锐达电梯", "chair", "cashier", "wutong", str(tmp_path)):
        assert private not in published, private
