"""`xinyi proof` and `xinyi verify`: lines and nights, proved to whoever doubts the gateway."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from xinyi.v1.disclosure_service_pb2 import (
    GetLineProofRequest,
    GetNightCertificateProofRequest,
    ListNightCertificatesRequest,
    NightTotal,
)

from gateway.cli.frame import EVERYONE, As, Complaint, Session, find_profile, group, offline, remote
from gateway.cli.options import Fund, InputFile, Limit, resource
from gateway.cli.proof_view import show_checked
from gateway.cli.screen import Column, Screen, write_data
from gateway.cli.status import MISMATCH
from gateway.cli.text import day, money
from gateway.client import LONG_TIMEOUT_S, call, collect, connect, receive, stubs
from gateway.disclosure.proof_file import check
from gateway.settings import Settings
from gateway.transparency.merkle import ProofError
from gateway.transparency.note import NoteError
from gateway.transparency.proof import MAX_PROOF_BYTES

app = group("Proofs: a line or a night in a file that verifies without the gateway 公示证明.")

_NIGHTS = (
    Column("序号", "No.", right=True),
    Column("日期", "Day"),
    Column("新到流水", "Came", right=True),
    Column("金额", "Amount", right=True),
    Column("已对应", "Matched", right=True),
    Column("未对应流水", "Open entries", right=True),
    Column("未对应明细", "Open lines", right=True),
    Column("余额核对", "Balance"),
)


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
    night: Annotated[
        int | None,
        typer.Option("--night", min=1, metavar="NUMBER", help="Number of the night's certificate."),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="A line of the demo's data; no server is needed.")
    ] = False,
    who: As = None,
) -> None:
    """Write the proof of a line or a night: what is shown, its place in the log, who signed."""
    if demo and night is None:
        proof = _of_demo(fund, line)
    elif demo or fund is None or (line is None) == (night is None):
        raise Complaint(
            "give --fund and one of --line and --night, or --demo",
            "须指定 --fund 与 --line、--night 之一，或 --demo",
        )
    elif line is not None:
        proof = asyncio.run(_asked(who, f"{fund}/lines/{line}"))
    else:
        proof = asyncio.run(_asked_night(who, f"{fund}/nightCertificates/{night}"))
    out.write_text(proof)
    screen.say(f"已写入 {out}", f"written to {out}")


async def _asked(who: str | None, name: str) -> str:
    profile = find_profile(Settings().data_dir / "people", who)
    async with connect(profile) as channel:
        request = GetLineProofRequest(name=name)
        return (await call(stubs(channel).disclosure.GetLineProof, request)).proof


async def _asked_night(who: str | None, name: str) -> str:
    profile = find_profile(Settings().data_dir / "people", who)
    content = bytearray()
    async with connect(profile) as channel:
        request = GetNightCertificateProofRequest(name=name)
        method = stubs(channel).disclosure.GetNightCertificateProof
        async for part in receive(method, request, LONG_TIMEOUT_S):
            content += part.content
    return content.decode()


@remote(app, "nights", EVERYONE)
async def _nights(session: Session, *, fund: Fund, limit: Limit = 100) -> None:
    """List a fund's nights: what the bank moved, and what no line or no entry stands for."""
    request = ListNightCertificatesRequest(parent=fund)
    answer = await collect(session.stubs.disclosure.ListNightCertificates, request, limit)
    rows = (
        (
            str(night.number),
            day(night.date),
            str(night.came.count),
            money(night.came.amount),
            str(night.matched.count),
            _rest(night.open_entries),
            _rest(night.open_lines),
            session.screen.pick("未证实", "not proved")
            if night.unproved_account_count
            else session.screen.pick("相符", "proved"),
        )
        for night in answer.night_certificates
    )
    session.screen.list(answer, _NIGHTS, rows)


def _rest(total: NightTotal) -> str:
    return f"{total.count} / {money(total.amount)}" if total.count else "0"


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
    sm2_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The log's SM2 key; it must have signed as well."),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="A witness's key; it must have cosigned. Repeatable."),
    ] = None,
) -> int:
    """Check a proof: every signature, every hash, and the line or night as shown. Offline."""
    if file.stat().st_size > MAX_PROOF_BYTES:
        raise Complaint(f"{file} is larger than any proof", "文件过大，不是公示证明")
    try:
        checked = check(file.read_text(), key, witness or (), sm2_key)
    except (NoteError, ProofError, UnicodeDecodeError) as error:
        return _refused(screen, str(error))
    show_checked(screen, checked)
    return 0


def _refused(screen: Screen, why: str) -> int:
    if screen.as_json:
        write_data({"verified": False, "reason": why})
    else:
        screen.say(f"不成立：{why}", f"NOT proved: {why}")
    return MISMATCH
