"""`xinyi audit list`, `xinyi restore show` and `acknowledge`: what persons read and agree to."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from xinyi.v1 import audit_service_pb2 as pb
from xinyi.v1.common_pb2 import Money

from tests.gateway.cli.fake import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from tests.gateway.cli.fake import FakeGateway

WHEN = Timestamp(seconds=int(datetime(2026, 11, 20, 1, 30, tzinfo=UTC).timestamp()))
DIGEST = "ab" * 32


def an_entry(**fields: Any) -> pb.AuditEntry:
    fine: dict[str, Any] = {
        "sequence": 1234,
        "time": WHEN,
        "person": "parties/anju/persons/cashier",
        "peer": "ipv4:192.0.2.7:50112",
        "method": "/xinyi.v1.PaymentService/SubmitPayment",
        "resource": "funds/wutong/payments/p1",
        "code": "OK",
    }
    return pb.AuditEntry(**{**fine, **fields})


def lost(*acknowledged_by: str) -> pb.GetRollbackResponse:
    amount = Money(amount_minor=128_000, currency="CNY")
    known = pb.LostPayment(
        reference="p1", amount=amount, account_ending="0001", payment="funds/wutong/payments/p1"
    )
    unknown = pb.LostPayment(reference="p2", amount=amount, account_ending="0002")
    files = [
        pb.LostFile(profile="demo", file_name="m1.xml", payments=[known, unknown]),
        pb.LostFile(profile="demo", file_name="m2.xml"),
    ]
    return pb.GetRollbackResponse(
        rollback=pb.Rollback(
            anchors=[pb.Anchor(sequence=1500, time=WHEN)],
            sequence=1200,
            files=files,
            report_digest=DIGEST,
            acknowledged_by=acknowledged_by,
        )
    )


def test_entries_are_listed_with_who_from_where_what_and_how_it_ended(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    own = an_entry(person="", peer="", method="gateway.FileSent", sequence=0)
    denied = an_entry(code="PERMISSION_DENIED", reason="ROLE_NOT_ALLOWED")
    fake.answers["ListAuditEntries"] = pb.ListAuditEntriesResponse(entries=[own, denied])
    told = zhao("audit", "list").stdout
    for part in ("anju/cashier", "192.0.2.7", "SubmitPayment", "FileSent", "2026-11-20 09:30:00"):
        assert part in told
    assert "PERMISSION_DENIED ROLE_NOT_ALLOWED" in told
    as_json = json.loads(zhao("audit", "list", "--json").stdout)
    assert as_json["entries"][1]["person"] == "parties/anju/persons/cashier"


def test_filters_are_asked_for_by_days_in_beijing(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["ListAuditEntries"] = pb.ListAuditEntriesResponse()
    words = ("--party", "anju", "--method", "SignPayment", "--about", "funds/wutong")
    days = ("--from", "2026-11-20", "--to", "2026-11-20", "--outcome", "refused")
    assert zhao("audit", "list", *words, *days).exit_code == 0
    [[asked]] = fake.requests("ListAuditEntries")
    assert (asked.party, asked.method, asked.resource) == (
        "parties/anju",
        "SignPayment",
        "funds/wutong",
    )
    assert asked.outcome == pb.AUDIT_OUTCOME_REFUSED
    begin = datetime(2026, 11, 19, 16, tzinfo=UTC)
    assert asked.start_time.ToDatetime(UTC) == begin
    assert (asked.end_time.ToDatetime(UTC) - begin).days == 1


def test_what_is_lost_is_shown_before_it_is_acknowledged(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["GetRollback"] = lost("parties/gateway/persons/operator")
    fake.answers["AcknowledgeRollback"] = pb.AcknowledgeRollbackResponse(complete=True)
    shown = zhao("restore", "show")
    assert shown.exit_code == 1
    for part in ("1,500", "m1.xml", "m2.xml", "p1", "p2", "1,280.00", "gateway/operator"):
        assert part in shown.stdout

    result = zhao("restore", "acknowledge", typed="y\n")
    assert result.stderr.index("m1.xml") < result.stderr.index("确认这些丢失")
    assert "付款恢复" in result.stderr
    [[asked]] = fake.requests("AcknowledgeRollback")
    assert asked.report_digest == DIGEST


@pytest.mark.parametrize("typed", ["n\n", ""])
def test_without_a_yes_nothing_is_acknowledged(
    typed: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["GetRollback"] = lost()
    assert zhao("restore", "acknowledge", typed=typed).exit_code == 1
    assert fake.requests("AcknowledgeRollback") == []


def test_the_first_of_two_hears_that_another_party_is_needed(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["GetRollback"] = lost()
    fake.answers["AcknowledgeRollback"] = pb.AcknowledgeRollbackResponse()
    assert "另一方" in zhao("restore", "acknowledge", "--yes").stderr


def test_where_nothing_is_lost_the_command_says_so(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["GetRollback"] = refusal("RESOURCE_NOT_FOUND", "rollback does not exist", "未找到")
    assert zhao("restore", "show").exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("restore",),
        ("restore", "--from", "."),
        ("restore", "--from", ".", "--to", "x", "--at", "yesterday"),
        ("backup",),
        ("backup", "log"),
    ],
)
def test_what_is_missing_or_wrong_is_told(
    words: tuple[str, ...], xinyi: Callable[..., Result]
) -> None:
    result = xinyi(*words)
    assert result.exit_code == 2
    assert "--" in result.output
