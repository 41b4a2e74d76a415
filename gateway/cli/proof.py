"""`xinyi proof` and `xinyi verify`: one line, proved to whoever does not believe the gateway."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from xinyi.v1.disclosure_service_pb2 import GetLineProofRequest

from gateway.cli.frame import EVERYONE, As, Complaint, find_profile, group, offline
from gateway.cli.options import InputFile, resource
from gateway.cli.screen import Screen, write_data
from gateway.cli.status import MISMATCH
from gateway.cli.text import minor
from gateway.client import call, connect, stubs
from gateway.clock import BANK_ZONE
from gateway.disclosure.line_proof import Checked, check
from gateway.settings import Settings
from gateway.transparency.merkle import ProofError
from gateway.transparency.note import NoteError
from gateway.transparency.proof import MAX_PROOF_BYTES

app = group("Proofs: one line in a file that verifies without the gateway 明细证明.")

_BOOKS: Final = {"COMMON": ("共有资金", "common"), "MAINTENANCE": ("维护基金", "maintenance")}


@offline(app, "export", EVERYONE)
def _export(
    screen: Screen,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")],
    fund: Annotated[
        str | None, typer.Option(parser=resource("funds"), metavar="FUND", help="The fund.")
    ] = None,
    line: Annotated[
        int | None, typer.Option("--line", min=1, metavar="NUMBER", help="Number of the line.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="A line of the demo's data; no server is needed.")
    ] = False,
    who: As = None,
) -> None:
    """Write the proof of a line: the line as shown, its place in the log, who signed the log."""
    if demo:
        proof = _of_demo(fund, line)
    elif fund is None or line is None:
        raise Complaint("give --fund and --line, or --demo", "须指定 --fund 与 --line，或 --demo")
    else:
        proof = asyncio.run(_asked(who, f"{fund}/lines/{line}"))
    out.write_text(proof)
    screen.say(f"已写入 {out}", f"written to {out}")


async def _asked(who: str | None, name: str) -> str:
    profile = find_profile(Settings().data_dir / "people", who)
    async with connect(profile) as channel:
        request = GetLineProofRequest(name=name)
        return (await call(stubs(channel).disclosure.GetLineProof, request)).proof


def _of_demo(fund: str | None, line: int | None) -> str:
    # Only here is the server's side loaded.
    from gateway.demo import run  # noqa: PLC0415 - as said above
    from gateway.demo.proof import demo_proof  # noqa: PLC0415 - as above

    settings = Settings()
    if run(settings, if_missing=True, date=None):
        raise Complaint("the demo did not come to its end", "演示未能完成")
    return demo_proof(settings, (fund or "").removeprefix("funds/"), line)


def verify(
    screen: Screen,
    file: InputFile,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The log's key, name+id+base64, from elsewhere."),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="A witness's key; it must have cosigned. Repeatable."),
    ] = None,
) -> int:
    """Check a proof: every signature, every hash, and the line as it is shown. Offline."""
    if file.stat().st_size > MAX_PROOF_BYTES:
        raise Complaint(f"{file} is larger than any proof", "文件过大，不是明细证明")
    try:
        checked = check(file.read_text(), key, witness or ())
    except (NoteError, ProofError, UnicodeDecodeError) as error:
        return _refused(screen, str(error))
    _show(screen, checked)
    return 0


def _refused(screen: Screen, why: str) -> int:
    if screen.as_json:
        write_data({"verified": False, "reason": why})
    else:
        screen.say(f"不成立：{why}", f"NOT proved: {why}")
    return MISMATCH


def _show(screen: Screen, checked: Checked) -> None:
    if screen.as_json:
        write_data(_data(checked))
        return
    facts = _facts(checked, english=screen.lang == "en")
    screen.facts((screen.pick(zh, en), value) for zh, en, value in facts if value)
    screen.say(
        "成立：该明细一字不差地记在公示日志中",
        "proved: the line stands in the log, word for word",
    )
    if not checked.pinned:
        screen.say(
            "密钥取自文件本身：请与公示栏或监察人公布的密钥核对，或用 --key 指定",
            "the keys are the file's own: compare them with those on the notice, or give --key",
        )
    if not checked.witnesses:
        screen.say("尚无见证人签名", "no witness has cosigned")


def _facts(checked: Checked, *, english: bool) -> Iterator[tuple[str, str, str]]:
    """Label in both languages, and text; empty where the line has none."""
    line = checked.line
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
    yield "日志", "Log", checked.log_key
    yield "位置", "Place", f"{checked.index + 1} / {checked.size}"
    for name, time_s in checked.witnesses:
        cosigned = _moment(datetime.fromtimestamp(time_s, BANK_ZONE))
        yield "见证", "Witnessed", f"{name}  {cosigned}"


def _moment(when: datetime) -> str:
    return f"{when.astimezone(BANK_ZONE):%Y-%m-%d %H:%M:%S}"


def _data(checked: Checked) -> dict[str, object]:
    return {
        "verified": True,
        "line": checked.line.model_dump(mode="json", by_alias=True),
        "log_key": checked.log_key,
        "keys_pinned": checked.pinned,
        "index": checked.index,
        "size": checked.size,
        "root": checked.root.hex(),
        "witnesses": [{"name": name, "time_s": time_s} for name, time_s in checked.witnesses],
    }
