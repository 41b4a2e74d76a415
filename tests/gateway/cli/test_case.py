"""`xinyi case`: what a person reads of a case, and what their commands ask the gateway for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from google.type.date_pb2 import Date  # type: ignore[import-untyped] # it ships no stubs
from xinyi.v1 import reconciliation_service_pb2 as pb
from xinyi.v1.common_pb2 import BOOK_COMMON, BOOK_MAINTENANCE, Money
from xinyi.v1.party_service_pb2 import GetCallerResponse, Person
from xinyi.v1.payment_service_pb2 import UploadVoucherResponse, Voucher

from gateway.cli import accept, case_view
from gateway.cli.labels import comparison
from tests.gateway.cli import case_examples as example
from tests.gateway.cli.case_examples import CASE, ENTRY, FUND, ID, LINE, MAKER, RESOLUTION
from tests.gateway.cli.fake import refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from tests.gateway.cli.fake import FakeGateway

SHORT = f"wutong/{ID[:8]}"
OTHER = f"{FUND}/cases/{'fe' * 16}"


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    """In China it is the 23rd already."""
    late = datetime(2026, 11, 22, 17, tzinfo=UTC)
    monkeypatch.setattr(case_view, "system_clock", lambda: late)


@pytest.fixture(autouse=True)
def told(fake: FakeGateway) -> None:
    """A gateway that has one case, and takes what is proposed for it."""
    fake.answers.update(
        GetCase=example.whole_case(),
        ListCases=pb.ListCasesResponse(cases=[example.case()]),
        ProposeResolution=pb.ProposeResolutionResponse(resolution=example.resolution()),
        GetCaller=GetCallerResponse(person=Person(name=MAKER)),
    )


def proposed(fake: FakeGateway) -> Any:
    """The one proposal that the gateway was asked for."""
    [[asked]] = fake.requests("ProposeResolution")
    return asked


# --- reading -------------------------------------------------------------------------------------


def test_a_list_says_how_old_and_how_late_each_case_is_and_what_all_come_to(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    second = example.case(OTHER, overdue=False, escalation=0, weight=example.yuan(123400))
    fake.answers["ListCases"].cases.append(second)
    result = zhao("case", "list")
    first, _ = (line for line in result.stdout.splitlines() if "wutong/" in line)
    assert first.split()[:4] == [SHORT, "21", "2026-11-09", "-5.00"]
    assert "逾期" in first
    assert "差额为手续费" in result.stdout
    assert result.stderr == "共 2 项，逾期 1 项，未决金额合计 1,239.00\n"
    assert "2 cases, 1 overdue" in zhao("case", "list", "--lang", "en").stderr


def test_every_condition_of_a_filter_reaches_the_gateway(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    zhao(
        *("case", "list", "--fund", "wutong", "--kind", "returned", "--kind", "timing"),
        *("--state", "at-bank", "--min-age-days", "7", "--min-amount", "1,000"),
        *("--max-amount", "2000.50", "--assignee", "firm/zhao", "--overdue", "--escalated"),
        *("--cause", "bank_fee", "--order", "amount", "--limit", "7"),
    )
    [[asked]] = fake.requests("ListCases")
    assert (asked.parent, asked.order, asked.page_size) == (FUND, pb.CASE_ORDER_WEIGHT, 7)
    assert asked.filter == pb.CaseFilter(
        kinds=[pb.CASE_KIND_RETURNED, pb.CASE_KIND_TIMING],
        states=[pb.CASE_STATE_AT_BANK],
        min_age_days=7,
        min_weight_minor=100000,
        max_weight_minor=200050,
        assignee="parties/firm/persons/zhao",
        only_overdue=True,
        min_escalation=1,
        cause="bank_fee",
    )


@pytest.mark.parametrize(
    ("typed", "asked_for"), [("me", MAKER), ("nobody", "-"), (MAKER, MAKER), ("", "")]
)
def test_whose_cases_are_meant_can_be_said_in_a_word(
    typed: str, asked_for: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    assert zhao("case", "list", "--assignee", typed).exit_code == 0
    [[asked]] = fake.requests("ListCases")
    assert asked.filter.assignee == asked_for


@pytest.mark.parametrize("order", ["OLDEST", "size"])
def test_an_order_that_there_is_not_is_refused(order: str, zhao: Callable[..., Result]) -> None:
    assert zhao("case", "list", "--order", order).exit_code == 2


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        (
            "zh",
            (
                *("电梯维修 手续费", "E:e9k2m", "L:12", "金额相近（差 -5.00）", "参考号不符"),
                *(
                    "落选最接近者",
                    "L:14（分值 3.05）：金额差 -5.00；相差 3 天；已按“付款编号相同”匹配他处",
                ),
                *("转账手续费 · -5.00", "提议", "xinyi-trust/maker", "发现", "12.34", "-3.05"),
                "另属差异",
            ),
        ),
        (
            "en",
            (
                *("amount close (-5.00 apart)", "reference differs", "cut short"),
                "L:14 (score 3.05): -5.00 apart; 3 days apart; matched elsewhere: own id",
                *("Proposal that waits", "found", "also in case"),
            ),
        ),
    ],
)
def test_a_case_shows_both_sides_what_may_belong_to_it_and_its_history(
    lang: str, said: tuple[str, ...], zhao: Callable[..., Result]
) -> None:
    shown = zhao("case", "show", CASE, "--lang", lang).stdout
    assert [each for each in said if each not in shown] == []


def test_what_a_case_does_not_have_is_not_shown(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["GetCase"] = pb.GetCaseResponse(case=example.case())
    assert "==" not in zhao("case", "show", CASE).stdout


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"side":"bank"}', '{"side":1,"id":2,"score":"x","lost_by":[]}']
)
def test_a_runner_up_that_is_told_in_another_way_is_shown_as_it_came(text: str) -> None:
    assert case_view.runner_up(text, "zh") == text


@pytest.mark.parametrize(
    ("said", "zh"),
    [
        ("difference_minor=-123456", "差 -1,234.56"),
        ("days=2", "相差 2 天"),
        ("2 days", "相差 2 天"),
        ("-5.00", "-5.00"),
        ("proposed elsewhere with amount_window", "已按“金额与日期相符”提议他处"),
        ("not unique", "与别的候选无从区分"),
        ("something {new}", "something {new}"),
    ],
)
def test_comparisons_are_told_in_words(said: str, zh: str) -> None:
    assert comparison(said, "zh") == zh


@pytest.mark.parametrize("typed", [SHORT, f"wutong/{ID[:20]}", f"wutong/{ID}", CASE])
def test_a_case_is_known_by_the_beginning_of_its_id(
    typed: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    assert zhao("case", "show", typed).exit_code == 0
    [[asked]] = fake.requests("GetCase")
    assert asked.name == CASE


def test_a_closed_case_is_found_by_its_beginning_where_no_open_one_has_it(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.turns["ListCases"] = [pb.ListCasesResponse(), fake.answers["ListCases"]]
    assert zhao("case", "show", SHORT).exit_code == 0
    _, [closed] = fake.requests("ListCases")
    assert list(closed.filter.states) == [pb.CASE_STATE_CLOSED]


@pytest.mark.parametrize(
    ("names", "said"),
    [((), "没有这样的差异"), ((CASE, f"{CASE[:-1]}0"), "不止一个")],
)
def test_a_beginning_that_names_no_case_or_several_is_refused(
    names: tuple[str, ...], said: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["ListCases"] = pb.ListCasesResponse(cases=map(example.case, names))
    result = zhao("case", "show", SHORT)
    assert (result.exit_code, said in result.stderr) == (2, True)
    assert all(name in result.stderr for name in names)
    assert fake.requests("GetCase") == []


def test_a_name_without_a_fund_is_refused(zhao: Callable[..., Result]) -> None:
    assert zhao("case", "show", ID).exit_code == 2


# --- proposing -----------------------------------------------------------------------------------


def test_entries_and_lines_are_matched_whole_or_in_part_to_the_fen(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    result = zhao(
        *("case", "match", CASE, "--reason", "同一笔", "--entry", "e9k2m=-1,285.00"),
        *("--entry", "e2", "--line", "12=0.01", "--request-id", "r1"),
    )
    assert result.exit_code == 0
    asked = proposed(fake)
    assert (asked.parent, asked.etag, asked.request_id) == (CASE, "7", "r1")
    assert not asked.validate_only
    assert asked.resolution == pb.Resolution(
        action=pb.RESOLUTION_ACTION_MATCH,
        allocations=[
            pb.Allocation(name=ENTRY, amount=example.yuan(-128500)),
            pb.Allocation(name=f"{FUND}/bankEntries/e2"),
            pb.Allocation(name=LINE, amount=example.yuan(1)),
        ],
        reason="同一笔",
    )


@pytest.mark.parametrize("taken", ["e1=", "e1=0", "e1=1.005", "=5", "e1=abc", "e1=--1"])
def test_a_part_that_is_no_amount_is_refused_before_anything_is_asked(
    taken: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    assert zhao("case", "match", CASE, "--reason", "x", "--entry", taken).exit_code == 2
    assert fake.asked == []


def test_an_adjustment_says_what_it_posts_and_uploads_its_vouchers(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "fee.pdf").write_bytes(b"%PDF-1.7 advice")
    voucher = f"{FUND}/vouchers/{'ab' * 32}"
    fake.answers["UploadVoucher"] = UploadVoucherResponse(voucher=Voucher(name=voucher))
    zhao(
        *("case", "adjust", SHORT, "--book", "common", "--category", "银行手续费"),
        *("--summary", "转账手续费", "--amount", "-5.00", "--date", "2026-11-03"),
        *("--voucher", "fee.pdf", "--reason", "银行按笔收取"),
    )
    said = proposed(fake).resolution
    assert said.action == pb.RESOLUTION_ACTION_ADJUST
    assert said.adjustment == pb.Adjustment(
        book=BOOK_COMMON,
        category="银行手续费",
        summary="转账手续费",
        amount=example.yuan(-500),
        effective_date=Date(year=2026, month=11, day=3),
        vouchers=[voucher],
    )
    assert list(said.allocations) == []


def test_what_makes_both_sides_even_is_left_to_the_gateway(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    posts = ("--book", "common", "--category", "银行手续费", "--summary", "转账手续费")
    result = zhao("case", "adjust", CASE, *posts, "--reason", "x")
    said = proposed(fake).resolution.adjustment
    assert (said.HasField("amount"), said.HasField("effective_date")) == (False, False)
    assert "金额使两侧相等" in result.stderr


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (
            ("write-off", "--book", "maintenance", "--line", "12"),
            pb.Resolution(
                action=pb.RESOLUTION_ACTION_WRITE_OFF,
                allocations=[pb.Allocation(name=LINE)],
                adjustment=pb.Adjustment(book=BOOK_MAINTENANCE),
            ),
        ),
        (
            ("write-off", "--supersedes", "funds/wutong/resolutions/res-1"),
            pb.Resolution(
                action=pb.RESOLUTION_ACTION_WRITE_OFF,
                adjustment=pb.Adjustment(),
                supersedes="funds/wutong/resolutions/res-1",
            ),
        ),
        (
            ("wait", "--until", "2026-12-01"),
            pb.Resolution(
                action=pb.RESOLUTION_ACTION_WAIT,
                wait_until=Date(year=2026, month=12, day=1),
            ),
        ),
        (
            ("send-back", "--bank-reference", "CX-9"),
            pb.Resolution(action=pb.RESOLUTION_ACTION_SEND_BACK, bank_reference="CX-9"),
        ),
        (("keep-apart",), pb.Resolution(action=pb.RESOLUTION_ACTION_KEEP_APART)),
    ],
)
def test_every_other_action_asks_for_what_it_says(
    command: tuple[str, ...],
    wanted: pb.Resolution,
    zhao: Callable[..., Result],
    fake: FakeGateway,
) -> None:
    action, *options = command
    assert zhao("case", action, CASE, *options, "--reason", "说明").exit_code == 0
    wanted.reason = "说明"
    assert proposed(fake).resolution == wanted


def test_who_proposes_reads_what_before_it_is_done_and_who_goes_on(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    result = zhao("case", "match", SHORT, "--reason", "同一笔", "--json")
    assert result.stderr.index("差异中全部未决金额") < result.stderr.index("--request-id")
    assert "--etag 7" in result.stderr
    assert "xinyi resolution approve wutong/res-1" in result.stderr
    assert json.loads(result.stdout)["resolution"]["name"] == RESOLUTION
    fake.answers["ProposeResolution"] = refusal("MATCH_UNEVEN", "5.00 apart", "两侧金额不等")
    refused = zhao("case", "match", SHORT, "--reason", "同一笔")
    assert (refused.exit_code, "MATCH_UNEVEN" in refused.stderr) == (2, True)


def test_a_preview_shows_all_of_it_and_proposes_nothing(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    result = zhao("case", "match", CASE, "--reason", "同一笔", "--preview")
    assert proposed(fake).validate_only
    assert "E:e9k2m -1,285.00；L:12 全部未决" in result.stdout
    assert result.stderr == "仅预览，未提议\n"


def test_a_proposal_can_insist_on_the_case_as_it_was_read(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    zhao("case", "keep-apart", CASE, "--reason", "x", "--etag", "6", "--request-id", "r1")
    assert (proposed(fake).etag, proposed(fake).request_id) == ("6", "r1")


def test_a_reason_is_never_left_out(zhao: Callable[..., Result], fake: FakeGateway) -> None:
    assert zhao("case", "match", CASE).exit_code == 2
    assert fake.asked == []


@pytest.mark.parametrize(
    ("typed", "person"), [("me", MAKER), ("nobody", ""), ("a/b", "parties/a/persons/b")]
)
def test_a_case_is_given_to_a_person_or_to_nobody(
    typed: str, person: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["AssignCase"] = pb.AssignCaseResponse(case=example.case())
    assert zhao("case", "assign", SHORT, typed).exit_code == 0
    [[asked]] = fake.requests("AssignCase")
    assert (asked.name, asked.assignee, asked.etag) == (CASE, person, "7")


def test_a_remark_is_added_to_a_case(zhao: Callable[..., Result], fake: FakeGateway) -> None:
    event = pb.CaseEvent(kind="COMMENTED", detail="已问银行", actor=MAKER)
    fake.answers["CommentCase"] = pb.CommentCaseResponse(event=event)
    result = zhao("case", "comment", CASE, "已问银行")
    [[asked]] = fake.requests("CommentCase")
    assert (asked.name, asked.text) == (CASE, "已问银行")
    assert "备注" in result.stdout


# --- accepting many ------------------------------------------------------------------------------


def accepted(*reasons: str) -> pb.AcceptProposalsResponse:
    outcomes = [
        pb.ItemOutcome(name=CASE, reason=reason)
        if reason
        else pb.ItemOutcome(name=CASE, resolution=example.resolution())
        for reason in reasons
    ]
    return pb.AcceptProposalsResponse(outcomes=outcomes)


def test_only_strong_proposals_are_accepted_after_they_were_read(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["ListCases"].cases.append(example.case(OTHER, cause="bank_fee"))
    fake.answers["AcceptProposals"] = accepted("")
    result = zhao("case", "accept", "--fund", "wutong", typed="y\n")
    assert result.exit_code == 0
    [[listed]] = fake.requests("ListCases")
    [[asked]] = fake.requests("AcceptProposals")
    assert (listed.parent, list(listed.filter.states)) == (FUND, [pb.CASE_STATE_OPEN])
    assert list(asked.cases) == [pb.ReadCase(name=CASE, etag="7")]
    assert asked.reason
    assert result.stderr.index(SHORT) < result.stderr.index("全部提议吗")


@pytest.mark.parametrize("typed", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_accepted(
    typed: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    assert zhao("case", "accept", typed=typed).exit_code == 1
    assert fake.requests("AcceptProposals") == []


def test_a_preview_of_accepting_shows_the_cases_as_its_result(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    assert SHORT in zhao("case", "accept", "--preview").stdout
    assert fake.requests("AcceptProposals") == []


def test_where_no_proposal_waits_nothing_is_asked(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["ListCases"] = pb.ListCasesResponse()
    result = zhao("case", "accept")
    assert (result.exit_code, "没有符合条件的差异" in result.stderr) == (0, True)


def test_many_are_accepted_in_parts_and_all_outcomes_told(
    zhao: Callable[..., Result], fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "PART_SIZE", 2)
    fake.answers["ListCases"] = pb.ListCasesResponse(cases=[example.case()] * 5)
    fake.turns["AcceptProposals"] = [
        accepted("", ""),
        accepted("", "ETAG_MISMATCH"),
        accepted("A_NEW_REASON"),
    ]
    result = zhao("case", "accept", "--yes", "--json")
    assert [len(asked.cases) for [asked] in fake.requests("AcceptProposals")] == [2, 2, 1]
    assert len({asked.request_id for [asked] in fake.requests("AcceptProposals")}) == 3
    assert len(json.loads(result.stdout)["outcomes"]) == 5
    assert (result.exit_code, "成功 3，未成 2" in result.stderr) == (1, True)


def test_an_outcome_says_in_words_why_it_could_not_be_done(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["AcceptProposals"] = accepted("ETAG_MISMATCH", "A_NEW_REASON")
    shown = zhao("case", "accept", "--yes").stdout
    assert "内容已被他人修改，请重新读取" in shown
    assert "A_NEW_REASON" in shown


# --- as a file -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "form"), [("c.xlsx", pb.SHEET_FORMAT_XLSX), ("c.CSV", pb.SHEET_FORMAT_CSV)]
)
def test_cases_are_exported_whole_under_the_same_filter(
    name: str, form: int, zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    fake.answers["ExportCases"] = [pb.ExportCasesResponse(content=each) for each in (b"ab", b"c")]
    result = zhao("case", "export", name, "--fund", "wutong", "--overdue", "--lang", "en")
    assert result.exit_code == 0
    assert (tmp_path / name).read_bytes() == b"abc"
    [[asked]] = fake.requests("ExportCases")
    assert (asked.parent, asked.format, asked.language) == (FUND, form, "en")
    assert asked.filter.only_overdue


def test_a_file_that_somebody_filled_in_is_not_written_over(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "c.csv").write_text("work of a day")
    assert zhao("case", "export", "c.csv").exit_code == 2
    assert (tmp_path / "c.csv").read_text() == "work of a day"
    assert fake.asked == []


def test_an_export_that_breaks_off_leaves_no_file(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    fake.answers["ExportCases"] = refusal("STORE_UNAVAILABLE", "later", "稍后再试")
    assert zhao("case", "export", "c.csv").exit_code == 2
    assert not (tmp_path / "c.csv").exists()


@pytest.mark.parametrize("command", ["export", "import"])
def test_other_formats_are_refused(
    command: str, zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "c.xls").write_text("x")
    assert zhao("case", command, "c.xls").exit_code == 2
    assert fake.asked == []


FINE = pb.ImportedRow(row=2, case=CASE, resolution=example.resolution(""))
FAULTY = pb.ImportedRow(row=5, case=OTHER, reason="FIELD_INVALID", message="column 理由: is empty")


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    file = tmp_path / "c.csv"
    file.write_text("filled in")
    return file


def imported(*rows: pb.ImportedRow, proposed: bool = False) -> pb.ImportResolutionsResponse:
    return pb.ImportResolutionsResponse(rows=rows, proposed=proposed)


def test_a_file_is_shown_before_it_is_proposed_and_both_times_the_same_bytes_go(
    sheet: Path, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.turns["ImportResolutions"] = [imported(FINE), imported(FINE, proposed=True)]
    result = zhao("case", "import", sheet.name, "--request-id", "r1", typed="y\n")
    looked, done = (asked for [asked] in fake.requests("ImportResolutions"))
    assert (looked.validate_only, done.validate_only) == (True, False)
    assert looked.content == done.content == b"filled in"
    assert (done.request_id, looked.request_id == "r1") == ("r1", False)
    assert result.stderr.index("调账") < result.stderr.index("全部提议吗")
    assert (result.exit_code, "已提议 1 项" in result.stderr) == (0, True)


@pytest.mark.parametrize("typed", ["n\n", ""])
def test_without_a_yes_no_file_is_proposed(
    typed: str, sheet: Path, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["ImportResolutions"] = imported(FINE)
    assert zhao("case", "import", sheet.name, typed=typed).exit_code == 1
    [[asked]] = fake.requests("ImportResolutions")
    assert asked.validate_only


@pytest.mark.parametrize("options", [(), ("--yes",), ("--preview",)])
def test_a_file_with_a_fault_is_not_proposed_and_its_row_is_named(
    options: tuple[str, ...], sheet: Path, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["ImportResolutions"] = imported(FINE, FAULTY)
    result = zhao("case", "import", sheet.name, *options)
    assert (result.exit_code, len(fake.requests("ImportResolutions"))) == (1, 1)
    assert "column 理由: is empty" in result.stdout
    assert "1 行有误，未提议" in result.stderr


def test_a_row_that_went_wrong_in_between_is_told(
    sheet: Path, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.turns["ImportResolutions"] = [imported(FINE), imported(FAULTY)]
    result = zhao("case", "import", sheet.name, "--yes")
    assert (result.exit_code, "1 行有误，未提议" in result.stderr) == (1, True)


def test_a_preview_of_a_file_is_its_result(
    sheet: Path, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["ImportResolutions"] = imported(FINE)
    result = zhao("case", "import", sheet.name, "--preview", "--json")
    assert (result.exit_code, json.loads(result.stdout)["proposed"]) == (0, False)
    assert "仅预览，未提议" in result.stderr


def test_a_file_that_says_nothing_to_do_is_told_so(
    sheet: Path, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["ImportResolutions"] = imported()
    result = zhao("case", "import", sheet.name)
    assert (result.exit_code, "没有填写处理的行" in result.stderr) == (0, True)


@pytest.mark.parametrize("content", [b"", bytes((3 << 20) + 1)])
def test_a_file_that_is_empty_or_too_large_is_not_sent(
    content: bytes, sheet: Path, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    sheet.write_bytes(content)
    assert zhao("case", "import", sheet.name).exit_code == 2
    assert fake.asked == []


def test_amounts_of_another_currency_keep_it(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    dollars = Money(amount_minor=-500, currency="USD")
    fake.answers["GetCase"] = pb.GetCaseResponse(case=example.case(amount=dollars))
    zhao("case", "match", CASE, "--reason", "x", "--entry", "e1=1.00")
    assert proposed(fake).resolution.allocations[0].amount.currency == "USD"
