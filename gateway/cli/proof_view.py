"""What a proof has proved, for people and for programs."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from gateway.cli.screen import Column, Screen, write_data
from gateway.cli.text import minor
from gateway.clock import BANK_ZONE
from gateway.disclosure.entry import Line
from gateway.disclosure.proof_file import Checked, ShownLine
from gateway.domain.case_words import FINDINGS_ZH, KINDS_ZH, word
from gateway.domain.certificate import AccountProof, Certificate, Details, Total

_Fact = tuple[str, str, str]
"""Label in both languages, and text; empty where there is none."""

_BOOKS: Final = {"COMMON": ("共有资金", "common"), "MAINTENANCE": ("维护基金", "maintenance")}
_PROVED: Final = {"yes": ("相符", "proved"), "no": ("未证实", "not proved")}
_OPEN: Final = (
    Column("未对应", "Open"),
    Column("编号", "Id"),
    Column("日期", "Day"),
    Column("天数", "Days", right=True),
    Column("金额", "Amount", right=True),
    Column("原因", "Kind"),
)


def show_checked(screen: Screen, checked: Checked) -> None:
    """Shows what stands in the log, and how far it may be believed."""
    if screen.as_json:
        write_data(_data(checked))
        return
    english, shown = screen.lang == "en", checked.shown
    if isinstance(shown, ShownLine):
        facts = _line(shown.line, english=english)
        said = ("该明细一字不差地记在公示日志中", "the line stands in the log, word for word")
    else:
        facts = _night(shown.certificate, english=english)
        said = (
            "该夜核对记在公示日志中，每笔银行流水要么对应明细，要么列为未对应",
            "the night stands in the log; every entry of the bank is matched or told as open",
        )
        if shown.details.open_entries or shown.details.open_lines:
            screen.table(_OPEN, _open_rows(shown.details, shown.certificate.currency, screen))
    told = (*facts, *_place(checked))
    screen.facts((screen.pick(zh, en), value) for zh, en, value in told if value)
    screen.say(f"成立：{said[0]}", f"proved: {said[1]}")
    _show_doubts(screen, checked)


def _show_doubts(screen: Screen, checked: Checked) -> None:
    if not checked.pinned:
        screen.say(
            "密钥取自文件本身：请与公示栏或监察人公布的密钥核对，或用 --key 指定",
            "the keys are the file's own: compare them with those on the notice, or give --key",
        )
    if not checked.witnesses:
        screen.say("尚无见证人签名", "no witness has cosigned")


def _line(line: Line, *, english: bool) -> Iterator[_Fact]:
    amount, received = minor(int(line.amount_minor), line.currency), int(line.amount_minor) > 0
    yield "基金", "Fund", line.fund
    yield "序号", "No.", line.number
    yield "账簿", "Book", _BOOKS[line.book][english]
    yield "日期", "Day", line.effective_date
    yield "类别", "Category", line.category
    yield "摘要", "Summary", line.summary
    yield "对方", "Counterparty", line.counterparty
    yield "收入", "Received", amount if received else ""
    yield "支出", "Paid", "" if received else amount.removeprefix("-")
    yield "余额", "Balance", minor(int(line.running_minor), line.currency)
    yield "更正", "Corrects", "" if line.corrects == "0" else line.corrects
    yield "公示时间", "Disclosed", _moment(datetime.fromisoformat(line.disclosed_at))


def _night(certificate: Certificate, *, english: bool) -> Iterator[_Fact]:
    def told(total: Total) -> str:
        amount = minor(int(total.amount_minor), certificate.currency)
        return f"{total.count}  {amount}" if total.count != "0" else "0"

    totals = certificate.totals
    yield "基金", "Fund", certificate.fund
    yield "序号", "No.", certificate.number
    yield "日期", "Day", certificate.date
    yield "新到流水", "Entries that came", told(totals.came)
    yield "已对应", "Entries matched", told(totals.matched)
    yield "未对应流水", "Open entries", told(totals.open_entries)
    yield "未对应明细", "Open lines", told(totals.open_lines)
    for account in certificate.accounts:
        closing = minor(int(account.bank_closing_minor), certificate.currency)
        said = (_PROVED[account.proved][english], *_findings(account, english=english))
        told_of = f"{account.account} *{account.ends}  {closing}  {'  '.join(said)}"
        yield "账户余额", "Bank balance", told_of
    yield "上一夜", "Night before", certificate.previous


def _findings(account: AccountProof, *, english: bool) -> Iterator[str]:
    for each in account.findings:
        yield word(FINDINGS_ZH, each, "en" if english else "zh")


def _open_rows(details: Details, currency: str, screen: Screen) -> Iterator[tuple[str, ...]]:
    for side, items in (
        (screen.pick("流水", "entry"), details.open_entries),
        (screen.pick("明细", "line"), details.open_lines),
    ):
        for item in items:
            kind = word(KINDS_ZH, item.kind.upper(), screen.lang)
            amount = minor(int(item.amount_minor), currency)
            yield side, item.id, item.date, item.days, amount, kind


def _place(checked: Checked) -> Iterator[_Fact]:
    yield "日志", "Log", checked.log_key
    yield "国密签名", "SM2", checked.sm2_key
    yield "位置", "Place", f"{checked.index + 1} / {checked.size}"
    for name, time_s in checked.witnesses:
        cosigned = _moment(datetime.fromtimestamp(time_s, BANK_ZONE))
        yield "见证", "Witnessed", f"{name}  {cosigned}"


def _moment(when: datetime) -> str:
    return f"{when.astimezone(BANK_ZONE):%Y-%m-%d %H:%M:%S}"


def _data(checked: Checked) -> dict[str, object]:
    keys = {"schema", "line", "certificate", "details"}
    shown = checked.shown.model_dump(mode="json", by_alias=True)
    return {
        "verified": True,
        **{name: value for name, value in shown.items() if name in keys},
        "log_key": checked.log_key,
        "sm2_key": checked.sm2_key,
        "keys_pinned": checked.pinned,
        "index": checked.index,
        "size": checked.size,
        "root": checked.root.hex(),
        "witnesses": [{"name": name, "time_s": time_s} for name, time_s in checked.witnesses],
    }
