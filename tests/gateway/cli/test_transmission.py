from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from xinyi.v1 import bank_service_pb2 as bank
from xinyi.v1.bank_service_pb2 import TransmissionState

from tests.gateway.cli.fake import refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from tests.gateway.cli.fake import FakeGateway

CONTENT = "<Document>电梯</Document>".encode() * 100
FETCH = ("bank", "transmission", "file", "m1")
HANDLED = {
    "by-hand": ("DeliverByHand", bank.DeliverByHandResponse),
    "confirm": ("ConfirmDelivery", bank.ConfirmDeliveryResponse),
    "retry": ("RetryTransmission", bank.RetryTransmissionResponse),
}


def sent(state: str, **fields: Any) -> bank.Transmission:
    number = TransmissionState.Value(f"TRANSMISSION_STATE_{state}")
    return bank.Transmission(name="transmissions/m1", state=number, **fields)


def listed(fake: FakeGateway, *transmissions: bank.Transmission) -> None:
    fake.answers["ListTransmissions"] = bank.ListTransmissionsResponse(transmissions=transmissions)


def parts(
    *contents: bytes, name: str = "m1.xml", digest: str = ""
) -> list[bank.GetTransmissionFileResponse]:
    announced = digest or sha256(b"".join(contents)).hexdigest()
    header = bank.TransmissionFile(file_name=name, sha256=announced)
    answers = [bank.GetTransmissionFileResponse(content=each) for each in contents]
    return [bank.GetTransmissionFileResponse(header=header), *answers]


def test_a_file_that_does_not_leave_is_listed_with_its_day_and_its_trouble_in_words(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stuck = sent("STUCK", last_error="RefusedError", attempt_count=3, file_name="m1.xml")
    stuck.execution_date.year, stuck.execution_date.month, stuck.execution_date.day = 2026, 11, 24
    stuck.inquire_time.FromJsonString("2026-11-23T01:30:00Z")
    listed(fake, stuck)
    chinese = zhao("bank", "transmissions").stdout
    assert all(
        each in chinese
        for each in ("被拒收，待处理", "2026-11-24", "对方拒收，须人工处理", "2026-11-23 09:30:00")
    )
    english = zhao("bank", "transmissions", "--lang", "en").stdout
    assert "stuck" in english
    assert "a person has to look" in english
    assert "RefusedError" not in chinese + english


def test_what_the_bank_would_refuse_is_listed_by_its_codes(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    listed(fake, sent("STUCK", last_error="character_refused, text_too_long"))
    assert "character_refused, text_too_long" in zhao("bank", "transmissions").stdout


def test_who_has_a_file_in_hand_and_why_is_listed_for_who_shall_confirm(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    hand = "parties/gateway/persons/operator"
    listed(fake, sent("BY_HAND", delivered_by=hand, delivery_reason="专线中断"))
    shown = zhao("bank", "transmissions").stdout
    assert f"手工交付 {hand}: 专线中断" in shown


def test_a_file_is_written_whole_under_its_name_for_its_owner_alone(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    fake.answers["GetTransmissionFile"] = parts(CONTENT[:7], CONTENT[7:])
    (tmp_path / "usb").mkdir()
    result = zhao(*FETCH, "--out", "usb", "--json")
    written = tmp_path / "usb" / "m1.xml"
    assert (result.exit_code, written.read_bytes()) == (0, CONTENT)
    assert written.stat().st_mode & 0o077 == 0
    assert json.loads(result.stdout)["sha256"] == sha256(CONTENT).hexdigest()
    [[asked]] = fake.requests("GetTransmissionFile")
    assert asked.name == "transmissions/m1"


def test_a_file_never_replaces_another(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    fake.answers["GetTransmissionFile"] = parts(CONTENT)
    (tmp_path / "m1.xml").write_bytes(b"another")
    result = zhao(*FETCH)
    assert (result.exit_code, (tmp_path / "m1.xml").read_bytes()) == (2, b"another")
    assert "m1.xml is there already" in result.stderr


@pytest.mark.parametrize(
    "answers",
    [
        parts(CONTENT, digest=sha256(CONTENT + b"!").hexdigest()),
        parts(CONTENT)[:1],
        parts(CONTENT)[1:],
        [],
        parts(*[bytes(1 << 20)] * 65),
        parts(CONTENT, name="../m1.xml"),
        parts(CONTENT, name="/tmp/m1.xml"),  # noqa: S108 - must not be written
        parts(CONTENT, name="."),
        parts(CONTENT, name=".."),
        parts(CONTENT, name=".bashrc"),
        parts(CONTENT, name=""),
    ],
    ids=[
        *("other-bytes", "cut", "unannounced", "nothing", "without-end"),
        *("above", "absolute", "here", "parent", "hidden", "nameless"),
    ],
)
def test_what_is_not_the_announced_file_is_not_written(
    answers: list[Any], zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    before = sorted(tmp_path.rglob("*"))
    fake.answers["GetTransmissionFile"] = answers
    result = zhao(*FETCH, "--out", "out")
    assert (result.exit_code, sorted(tmp_path.rglob("*"))) == (2, before)
    assert "Traceback" not in result.stderr


def test_a_file_that_the_disk_cannot_hold_leaves_nothing_behind(
    zhao: Callable[..., Result],
    fake: FakeGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    fake.answers["GetTransmissionFile"] = parts(CONTENT)
    monkeypatch.setattr("gateway.cli.transmission.os.fsync", full)
    result = zhao(*FETCH)
    assert (result.exit_code, (tmp_path / "m1.xml").exists()) == (2, False)
    assert "No space left on device" in result.stderr


def test_handing_over_by_hand_says_why_and_who_is_asked_next(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["DeliverByHand"] = bank.DeliverByHandResponse(transmission=sent("BY_HAND"))
    result = zhao("bank", "transmission", "by-hand", "m1", "--reason", "专线中断，柜台递交")
    [[asked]] = fake.requests("DeliverByHand")
    assert (asked.name, asked.reason) == ("transmissions/m1", "专线中断，柜台递交")
    assert "手工交付，待确认" in result.stdout
    assert "由另一人确认：xinyi bank transmission confirm m1" in result.stderr


def test_handing_over_without_a_reason_is_not_sent(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    assert zhao("bank", "transmission", "by-hand", "m1").exit_code == 2
    assert fake.asked == []


@pytest.mark.parametrize(
    ("verb", "state", "shown"), [("confirm", "DELIVERED", "已送达"), ("retry", "QUEUED", "待发送")]
)
def test_a_file_in_hand_is_confirmed_or_put_back_by_its_name(
    verb: str, state: str, shown: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    method, answer = HANDLED[verb]
    fake.answers[method] = answer(transmission=sent(state, file_sha256="ab" * 32))
    result = zhao("bank", "transmission", verb, "transmissions/m1")
    [[asked]] = fake.requests(method)
    assert (result.exit_code, asked.name) == (0, "transmissions/m1")
    assert shown in result.stdout
    assert "ab" * 32 in result.stdout


@pytest.mark.parametrize("verb", HANDLED)
def test_a_state_that_forbids_it_is_told_in_both_languages(
    verb: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    told = refusal("STATE_FORBIDS", "it is DELIVERED", "付款当前状态不允许此操作")
    fake.answers[HANDLED[verb][0]] = told
    reason = ("--reason", "x") if verb == "by-hand" else ()
    result = zhao("bank", "transmission", verb, "m1", *reason)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "STATE_FORBIDS: it is DELIVERED / 付款当前状态不允许此操作\n"


def test_one_file_is_shown_with_when_it_is_tried_next(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    queued = sent("QUEUED", attempt_count=2)
    queued.attempt_time.FromJsonString("2026-11-23T01:45:00Z")
    fake.answers["GetTransmission"] = bank.GetTransmissionResponse(transmission=queued)

    shown = zhao("bank", "transmission", "show", "m1").stdout

    assert "2026-11-23 09:45:00" in shown


def test_only_what_the_bank_has_not_answered_is_asked_for(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    listed(fake)

    zhao("bank", "transmissions", "--open")

    [[asked]] = fake.requests("ListTransmissions")
    names = {TransmissionState.Name(each).rpartition("STATE_")[2] for each in asked.states}
    assert names == {"QUEUED", "SENDING", "DELIVERED", "STUCK", "BY_HAND", "IN_DOUBT"}
