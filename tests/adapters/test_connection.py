"""One bank as the gateway sees it, with a channel and file wires that break on purpose."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.connection import (
    ChannelConnection,
    FileConnection,
    NotSentError,
    OutcomeUnknownError,
    RefusedError,
    Transport,
    check_file,
    render,
    retrying,
    validate,
)
from adapters.formats import batch_cib, batch_cmb, batch_xlsx, channel_xml, pain001, pain002
from adapters.model import Outcome, Parsed, ParseError, Severity, StatusReport
from adapters.profile import list_profiles, load_profile
from adapters.transports.directory import (
    DirectoryTransport,
    NameTakenError,
    NotPlacedError,
    ShortWriteError,
)
from tests.adapters.samples import NOW, batch, payment

MORNING = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
NIGHT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
CHANNEL = load_profile("icbc-channel")
CIB = load_profile("cib-batch")
MT940 = (
    b":20:S1\r\n:25:123\r\n:28C:1/1\r\n:60F:C260301CNY0,00\r\n"
    b":61:2603020302C1,00NTRFREF\r\n:62F:C260302CNY1,00\r\n-\r\n"
)


def answer(result: str = "", code: str = "0", asked: str = "") -> bytes:
    told = f"<rd><iSeqno>P1</iSeqno><Result>{result}</Result></rd>" if result else ""
    kind, sequence = ("QPAYENT", "Q1") if asked else ("PAYENT", "M1")
    return (
        f"<CMS><eb><pub><TransCode>{kind}</TransCode><fSeqno>{sequence}</fSeqno>"
        f"<RetCode>{code}</RetCode></pub><out><QryfSeqno>{asked}</QryfSeqno>{told}</out></eb></CMS>"
    ).encode()


@dataclass
class Wire:
    """Answers with what it was given, in turn, and remembers what it was asked."""

    answers: list[bytes | Exception]
    asked: list[bytes] = field(default_factory=list)

    async def exchange(self, content: bytes) -> bytes:
        given = self.answers.pop(0)
        if isinstance(given, NotSentError):
            raise given
        self.asked.append(content)
        if isinstance(given, Exception):
            raise given
        return given


@dataclass
class Files:
    """A transport whose deliveries fail as told."""

    failures: list[BaseException] = field(default_factory=list)
    delivered: dict[str, bytes] = field(default_factory=dict)
    waiting: dict[str, bytes] = field(default_factory=dict)
    found: bool | None = None
    count: int = 0

    async def deliver(self, content: bytes, name: str) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.count += 1
        self.delivered[name] = content

    async def find(self, content: bytes, name: str) -> bool | None:  # noqa: ARG002 - the protocol's
        return self.found

    async def collect(self) -> list[str]:
        return sorted(self.waiting)

    async def fetch(self, name: str) -> bytes:
        return self.waiting[name]

    async def finish(self, name: str) -> None:
        del self.waiting[name]


def channel(folder: Path, *answers: bytes | Exception) -> tuple[ChannelConnection, Wire]:
    wire = Wire(list(answers))
    return ChannelConnection(CHANNEL, wire, folder / "audit"), wire


def files(folder: Path, *failures: Exception) -> tuple[FileConnection, Files]:
    transport = Files(list(failures))
    return FileConnection(CIB, transport, folder / "audit"), transport


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "__defaults__", (3, 0.01))


# Before sending


def test_validation_joins_content_and_hour() -> None:
    large = batch(payment("P|1", 5_000_001))
    assert [f.code for f in validate(large, CIB, NIGHT)] == [
        "character_forbidden",
        "cut_off_passed",
    ]


def test_the_event_of_a_file_says_which_payments_it_carries() -> None:
    made = render(batch(payment("P1"), payment("P2")), CIB)
    assert (made.name, made.references) == ("M1.txt", ("P1", "P2"))
    assert made.sha256 == hashlib.sha256(made.content).hexdigest()


@pytest.mark.parametrize(
    "profile_id", ["demo", "cib-batch", "cmb-batch", "generic-xlsx", "icbc-channel"]
)
def test_each_format_gives_the_same_digest_for_the_same_batch(profile_id: str) -> None:
    profile = load_profile(profile_id)
    assert render(batch(), profile).sha256 == render(batch(), profile).sha256


# Files


async def test_the_copy_is_kept_before_the_file_goes(tmp_path: Path) -> None:
    connection, transport = files(tmp_path, RefusedError("no"))
    made = connection.render(batch())
    with pytest.raises(RefusedError):
        await connection.submit(made, NOW)
    assert (tmp_path / "audit" / made.name).read_bytes() == made.content
    assert transport.delivered == {}


async def test_a_delivery_is_told_with_its_digest(tmp_path: Path) -> None:
    connection, transport = files(tmp_path)
    made = connection.render(batch())
    submitted = await connection.submit(made, NOW)
    assert transport.delivered == {made.name: made.content}
    assert (submitted.sha256, submitted.size_bytes) == (made.sha256, len(made.content))
    assert submitted.report is None


async def test_other_bytes_under_a_name_never_leave(tmp_path: Path) -> None:
    connection, transport = files(tmp_path)
    await connection.submit(connection.render(batch()), NOW)
    transport.delivered.clear()
    with pytest.raises(NameTakenError):
        await connection.submit(connection.render(batch(payment("P2"))), NOW)
    assert transport.delivered == {}


async def test_what_was_not_sent_is_tried_again(tmp_path: Path) -> None:
    connection, transport = files(tmp_path, NotSentError("1"), NotSentError("2"))
    await connection.submit(connection.render(batch()), NOW)
    assert list(transport.delivered) == ["M1.txt"]


@pytest.mark.parametrize(
    ("failures", "left"),
    [
        ([NotSentError("1"), NotSentError("2"), NotSentError("3"), NotSentError("4")], 1),
        ([RefusedError("no"), RefusedError("not reached")], 1),
        ([OutcomeUnknownError("?"), OutcomeUnknownError("not reached")], 1),
        ([NotSentError("1"), RefusedError("no"), RefusedError("not reached")], 1),
        ([NameTakenError("taken"), NameTakenError("not reached")], 1),
    ],
)
async def test_a_failure_never_becomes_a_success(
    tmp_path: Path, failures: list[Exception], left: int
) -> None:
    connection, transport = files(tmp_path, *failures)
    with pytest.raises(type(failures[-1])):
        await connection.submit(connection.render(batch()), NOW)
    assert (transport.delivered, len(transport.failures)) == ({}, left)


async def test_a_file_that_the_bank_took_is_not_delivered_again(tmp_path: Path) -> None:
    connection, transport = files(tmp_path)
    made = connection.render(batch())
    first = await connection.submit(made, NOW)
    transport.delivered.clear()
    assert await connection.submit(made, NOW) == first
    assert transport.count == 1


@pytest.mark.parametrize("broken", [OutcomeUnknownError("cut"), asyncio.CancelledError()])
@pytest.mark.parametrize(("found", "deliveries"), [(True, 0), (False, 1), (None, 0)])
async def test_after_an_unknown_outcome_the_file_is_looked_for_first(
    tmp_path: Path, broken: BaseException, found: bool | None, deliveries: int
) -> None:
    connection, transport = files(tmp_path)
    transport.failures = [broken]
    made = connection.render(batch())
    with pytest.raises(type(broken)):
        await connection.submit(made, NOW)
    transport.found = found
    if found is None:
        with pytest.raises(OutcomeUnknownError):
            await connection.submit(made, NOW)
    else:
        await connection.submit(made, NOW)
    assert transport.count == deliveries


async def test_a_directory_that_was_emptied_during_a_crash_is_unknown(tmp_path: Path) -> None:
    folders = DirectoryTransport(tmp_path / "out", tmp_path / "in", tmp_path / "done")
    connection = FileConnection(CIB, folders, tmp_path / "audit")
    made = connection.render(batch())
    await connection.submit(made, NOW)
    (tmp_path / "audit" / "M1.txt.delivered").unlink()  # as if the process died before it
    await connection.submit(made, NOW)
    (tmp_path / "audit" / "M1.txt.delivered").unlink()
    (tmp_path / "out" / "M1.txt").unlink()
    with pytest.raises(OutcomeUnknownError):
        await connection.submit(made, NOW)
    assert await folders.collect() == []
    assert list((tmp_path / "out").iterdir()) == []


async def test_files_of_the_bank_are_kept_before_they_are_finished(tmp_path: Path) -> None:
    connection, transport = files(tmp_path)
    transport.waiting = {"a.sta": MT940, "b.sta": b"b"}
    fetched = await connection.fetch(tmp_path / "inbox")
    kept = fetched.paths
    assert fetched.left == ()
    assert {path.name: path.read_bytes() for path in kept} == {"a.sta": MT940, "b.sta": b"b"}
    assert transport.waiting == {}
    assert isinstance(connection.parse(kept[0].read_bytes()), Parsed)


@pytest.mark.parametrize(
    "wrong",
    [RefusedError("no"), ShortWriteError("grows"), ParseError("file_too_large", "too large")],
)
async def test_a_file_that_cannot_be_taken_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Exception
) -> None:
    connection, transport = files(tmp_path)
    transport.waiting = {"a.sta": b"a", "b.sta": b"b", "c.sta": b"c"}
    fetch = transport.fetch

    async def broken(name: str) -> bytes:
        if name == "b.sta":
            raise wrong
        return await fetch(name)

    monkeypatch.setattr(transport, "fetch", broken)
    fetched = await connection.fetch(tmp_path / "inbox")
    assert [path.name for path in fetched.paths] == ["a.sta", "c.sta"]
    assert [(one.code, one.location) for one in fetched.left] == [("file_left", "b.sta")]
    assert list(transport.waiting) == ["b.sta"]


async def test_a_file_that_cannot_be_kept_stays_at_the_bank(tmp_path: Path) -> None:
    connection, transport = files(tmp_path)
    transport.waiting = {"a.sta": MT940}
    (tmp_path / "inbox").write_text("no folder")
    with pytest.raises(NotPlacedError):
        await connection.fetch(tmp_path / "inbox")
    assert transport.waiting == {"a.sta": MT940}


async def test_a_name_that_the_bank_uses_again_loses_nothing(tmp_path: Path) -> None:
    connection, transport = files(tmp_path)
    for content in (b"monday", b"tuesday", b"tuesday"):
        transport.waiting = {"day.sta": content}
        await connection.fetch(tmp_path / "inbox")
    found = sorted(path.read_bytes() for path in (tmp_path / "inbox").iterdir())
    assert found == [b"monday", b"tuesday"]


async def test_a_bank_of_files_cannot_be_asked(tmp_path: Path) -> None:
    connection, _ = files(tmp_path)
    assert await connection.query(batch(), "Q1", NOW) is None


async def test_directories_are_a_transport(tmp_path: Path) -> None:
    folders = DirectoryTransport(tmp_path / "out", tmp_path / "in", tmp_path / "done")
    transport: Transport = folders
    connection = FileConnection(CIB, transport, tmp_path / "audit")
    made = connection.render(batch())
    await connection.submit(made, NOW)
    assert (tmp_path / "out" / made.name).read_bytes() == made.content
    (tmp_path / "in").mkdir()
    for _ in range(2):
        (tmp_path / "in" / "a.sta").write_bytes(MT940)
        await connection.fetch(tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "done").iterdir()) == ["a.sta", "a.sta.1"]
    assert await transport.collect() == []


# The channel


async def test_an_order_is_answered_and_both_are_kept(tmp_path: Path) -> None:
    connection, wire = channel(tmp_path, answer("0"))
    made = connection.render(batch())
    submitted = await connection.submit(made, NOW)
    assert submitted.report is not None
    assert [s.outcome for s in submitted.report.statuses] == [Outcome.RECEIVED]
    assert wire.asked == [made.content]
    audit = tmp_path / "audit"
    assert (audit / "M1.xml").read_bytes() == made.content
    assert (audit / "M1.xml.reply").read_bytes() == answer("0")


@pytest.mark.parametrize(
    "given",
    [
        OutcomeUnknownError("timeout"),
        answer("0")[:-5],
        b"",
        b"<html>busy</html>",
        answer("0").replace(b"M1", b"M2"),
    ],
)
async def test_without_a_whole_answer_it_is_unknown_and_never_sent_twice(
    tmp_path: Path, given: bytes | Exception
) -> None:
    connection, wire = channel(tmp_path, given, answer("0"))
    made = connection.render(batch())
    for _ in range(2):
        with pytest.raises(OutcomeUnknownError):
            await connection.submit(made, NOW)
    assert len(wire.asked) == 1


async def test_a_process_that_died_while_sending_does_not_send_again(tmp_path: Path) -> None:
    class PowerCutError(BaseException):
        """No handler may catch it."""

    class Dying:
        async def exchange(self, content: bytes) -> bytes:
            raise PowerCutError(content)

    connection = ChannelConnection(CHANNEL, Dying(), tmp_path / "audit")
    made = connection.render(batch())
    with pytest.raises(PowerCutError):
        await connection.submit(made, NOW)
    after, wire = channel(tmp_path, answer("0"))
    with pytest.raises(OutcomeUnknownError):
        await after.submit(made, NOW)
    assert wire.asked == []


@pytest.mark.parametrize("first", [NotSentError("no route"), RefusedError("403")])
async def test_what_was_certainly_not_taken_may_be_sent_later(
    tmp_path: Path, first: Exception
) -> None:
    connection, wire = channel(tmp_path, *[first] * 3, answer("0"))
    made = connection.render(batch())
    with pytest.raises(type(first)):
        await connection.submit(made, NOW)
    wire.answers = [answer("0")]
    assert (await connection.submit(made, NOW)).report is not None


async def test_a_question_goes_by_our_reference_and_its_answer_is_kept(tmp_path: Path) -> None:
    connection, wire = channel(tmp_path, answer("7", asked="M1"))
    report = await connection.query(batch(), "Q1", NOW)
    assert [(s.end_to_end_id, s.outcome) for s in report.statuses] == [("P1", Outcome.SETTLED)]
    assert b"<QryfSeqno>M1</QryfSeqno>" in wire.asked[0]
    assert (tmp_path / "audit" / "Q1.reply").exists()


async def test_an_unreadable_answer_to_a_question_decides_nothing(tmp_path: Path) -> None:
    connection, _ = channel(tmp_path, b"<html/>")
    with pytest.raises(OutcomeUnknownError):
        await connection.query(batch(), "Q1", NOW)


# Checking a file


def found(profile_id: str, content: bytes) -> list[str]:
    return [finding.code for finding in check_file(profile_id, content)]


GOOD = payment(payee_account="6222021234567894", payee_bank_code="102651000001")
ODD = payment(payee_account="6222021234567890", payee_bank_code="102651000001")


@pytest.mark.parametrize(
    "profile_id", ["demo", "cib-batch", "cmb-batch", "generic-xlsx", "icbc-channel"]
)
def test_a_good_file_of_each_bank_has_no_findings(profile_id: str) -> None:
    content = render(batch(GOOD), load_profile(profile_id)).content
    assert found(profile_id, content) == []
    odd = check_file(profile_id, render(batch(ODD), load_profile(profile_id)).content)
    assert [(f.code, f.severity) for f in odd] == [("card_number_odd", Severity.WARNING)]


Checked = tuple[str, Callable[[], bytes], str]
CASES: list[Checked] = [
    (
        "demo",
        lambda: pain001.render(batch(payment("P" * 36)), load_profile("demo")),
        "text_too_long",
    ),
    (
        "sepa-example",
        lambda: pain001.render(batch(), load_profile("demo")),
        "format_differs",
    ),
    (
        "cib-batch",
        lambda: batch_cib.render(batch(payment(payee_bank_code="102651000002")), CIB),
        "bank_code_invalid",
    ),
    ("cib-batch", lambda: batch_cib.render(batch(GOOD, GOOD), CIB), "reference_repeated"),
    ("cib-batch", lambda: b"1|2|3|\r\n", "field_count"),
    (
        "cmb-batch",
        lambda: batch_cmb.render(batch(payment(purpose="一" * 11)), load_profile("cmb-batch")),
        "text_too_long",
    ),
    (
        "generic-xlsx",
        lambda: batch_xlsx.render(batch(payment(purpose="")), load_profile("generic-xlsx")),
        "text_empty",
    ),
    ("generic-xlsx", lambda: b"PK\x03\x04broken", "zip_malformed"),
    (
        "icbc-channel",
        lambda: channel_xml.render(batch(payment("P" * 21)), CHANNEL),
        "text_too_long",
    ),
    ("demo", lambda: b"", "file_empty"),
    ("icbc-channel", lambda: b"<CMS><eb>", "xml_malformed"),
]


@pytest.mark.parametrize(("profile_id", "content", "code"), CASES)
def test_what_is_wrong_with_a_file_is_found(
    profile_id: str, content: Callable[[], bytes], code: str
) -> None:
    assert code in found(profile_id, content())


def test_what_a_bank_sent_is_checked_by_reading_it() -> None:
    report = StatusReport(
        "S1", "M1", NOW, (pain002.status("ACSC", end_to_end_id="P1", batch_id="B"),)
    )
    assert found("demo", pain002.render(report, pain001.VERSION)) == []
    assert found("cib-batch", MT940) == []
    broken = MT940.replace(b":62F:C260302CNY1,00", b":62F:C260302CNY2,00")
    assert found("cib-batch", broken) != []


@pytest.mark.parametrize("profile_id", list_profiles())
@pytest.mark.parametrize(
    "content",
    [b"\0" * 50, b"\xff\xfe<a/>", b"PK\x03\x04", b"1|", b"<CMS>", "收款账号".encode("gbk")],
)
def test_any_file_gets_findings_and_never_a_crash(profile_id: str, content: bytes) -> None:
    assert found(profile_id, content) != []


def test_an_unknown_bank_is_an_error_not_a_finding() -> None:
    with pytest.raises(LookupError):
        check_file("nobank", b"")


def test_a_file_that_nobody_can_read_is_refused(tmp_path: Path) -> None:
    connection, _ = files(tmp_path)
    with pytest.raises(ParseError):
        connection.parse(b"neither")
