"""Speed and memory of the statement readers, beside a yardstick on the same file in the same run.

`python -m benchmarks.adapters [--quick] [--out FILE]`, run where this repository lies, prints the
figures and writes them as JSON (`var/benchmarks/adapters.json` unless told otherwise), and by
`benchmarks.results` beside those of the others. A rate alone says more of the machine than of the
reader; what is to be compared over time are the ratios.

- camt.053: entries of about 850 bytes; the yardstick is a bare loop of lxml over the `Ntry`
  elements that reads nothing of them. Wanted: a ratio of 0.7 or more, and less than 60 MB above
  what the interpreter holds once everything is imported, for a million entries too.
- MT940: the yardstick is `mt-940`, from the bytes of a file to its entries as ours. The two run
  in pairs, and the ratio is the median over the pairs, with the middle half of them as its spread.
  Wanted: a ratio of 3 or more.
"""

import argparse
import gc
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import mt940 as library
from lxml import etree

from adapters.formats import camt053, mt940
from adapters.model import Entry
from benchmarks import results

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
OPTIONS: Final = library.Options.all()
"""With these the library gives the results that ours gives."""
OUT: Final = Path("var/benchmarks/adapters.json")
_BATCH: Final = 1_000
_KB: Final = 1024

_HEAD: Final = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{NAMESPACE}"><BkToCstmrStmt>'
    "<GrpHdr><MsgId>BENCH</MsgId><CreDtTm>2026-03-02T02:30:00Z</CreDtTm></GrpHdr>"
    "<Stmt><Id>BENCH-1</Id><CreDtTm>2026-03-02T02:30:00Z</CreDtTm>"
    "<Acct><Id><Othr><Id>4402000100000000001</Id></Othr></Id><Ccy>CNY</Ccy></Acct>"
)
_TAIL: Final = "</Stmt></BkToCstmrStmt></Document>\n"


def write_camt(path: Path, entries: int) -> None:
    """A camt.053 whose entries lead from its opening to its closing balance."""
    total_minor = sum(_amount_minor(number) for number in range(entries))
    with path.open("w", encoding="utf-8") as file:
        file.write(_HEAD + _balance("OPBD", 0) + _balance("CLBD", total_minor))
        for start in range(0, entries, _BATCH):
            numbers = range(start, min(start + _BATCH, entries))
            file.write("".join(_entry(number) for number in numbers))
        file.write(_TAIL)


def _amount_minor(number: int) -> int:
    return (number * 7919) % 10_000_000 + 1


def _decimal(amount_minor: int) -> str:
    return f"{amount_minor // 100}.{amount_minor % 100:02}"


def _balance(code: str, amount_minor: int) -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
        f'<Amt Ccy="CNY">{_decimal(amount_minor)}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
        "<Dt><Dt>2026-03-02</Dt></Dt></Bal>\n"
    )


def _entry(number: int) -> str:
    amount = f'<Amt Ccy="CNY">{_decimal(_amount_minor(number))}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
    day = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}"
    return (
        f"<Ntry><NtryRef>{number}</NtryRef>{amount}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
        f"<AcctSvcrRef>BANK2026{number:010}</AcctSvcrRef>"
        "<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn>"
        "<Prtry><Cd>NTRF+166</Cd><Issr>BANK</Issr></Prtry></BkTxCd>"
        f"<NtryDtls><TxDtls><Refs><EndToEndId>E2E-{number:012}</EndToEndId></Refs>{amount}"
        f"<RltdPties><Dbtr><Pty><Nm>业主第{number:06}号</Nm></Pty></Dbtr>"
        f"<DbtrAcct><Id><Othr><Id>62220000{number:011}</Id></Othr></Id></DbtrAcct></RltdPties>"
        "<RltdAgts><DbtrAgt><FinInstnId><ClrSysMmbId><MmbId>102100099996</MmbId></ClrSysMmbId>"
        "</FinInstnId></DbtrAgt></RltdAgts>"
        f"<RmtInf><Ustrd>物业费 {day[:7]} 第{number % 3000 + 1}户</Ustrd></RmtInf>"
        "</TxDtls></NtryDtls></Ntry>\n"
    )


def mt940_text(entries: int, *, serials: bool = True) -> str:
    """One MT940 statement with structured field 86; without serials each row is named by digest."""
    lines = [":20:BENCH", ":25:12345678/4402000100", ":28C:1/1", ":60F:C260302CNY0,00"]
    for number in range(entries):
        amount_minor = _amount_minor(number)
        amount = f"{amount_minor // 100},{amount_minor % 100:02}"
        lines += [
            f":61:2603020302C{amount}NTRFE2E-{number:08}"
            + (f"//BANK{number:010}" if serials else ""),
            f":86:166?00GUTSCHRIFT?109301?20EREF+E2E-{number:08}?21SVWZ+Property fee 2026-03",
            f"?22block {number % 40 + 1} flat {number % 3000 + 1}?30BANKCNBJ?31622200{number:010}",
            f"?32Owner number {number:06}",
        ]
    total_minor = sum(_amount_minor(number) for number in range(entries))
    closing = f"{total_minor // 100},{total_minor % 100:02}"
    return "\r\n".join([*lines, f":62F:C260302CNY{closing}", "-", ""])


def bare(path: Path) -> int:
    """The yardstick: every entry made an element, and nothing of it read."""
    count = 0
    for _, element in etree.iterparse(path, tag=f"{{{NAMESPACE}}}Ntry"):
        element.clear()
        count += 1
    return count


def streamed(path: Path) -> int:
    """What the gateway does with every entry."""
    with path.open("rb") as file:
        return sum(isinstance(item, Entry) for item in camt053.stream(file))


def seconds(work: Callable[[], int], expected: int) -> float:
    """Processor time of the work, which other work disturbs least; it must find all there is."""
    started = time.process_time()
    if work() != expected:
        raise SystemExit("the reader did not find all entries")
    return time.process_time() - started


def ratio(
    yardstick: Callable[[], int], ours: Callable[[], int], expected: int, rounds: int
) -> dict[str, float]:
    """The better of some rounds of each, turn and turn about, so that both see the same machine."""
    times = [(seconds(yardstick, expected), seconds(ours, expected)) for _ in range(rounds)]
    yardstick_s, ours_s = (min(column) for column in zip(*times, strict=True))
    return {
        "yardstick_s": round(yardstick_s, 3),
        "ours_s": round(ours_s, 3),
        "ratio": round(yardstick_s / ours_s, 2),
    }


def camt_speed(folder: Path, entries: int, rounds: int) -> dict[str, Any]:
    """Rate of the camt stream over that of the bare loop."""
    path = folder / f"{entries}.xml"
    write_camt(path, entries)
    found = ratio(lambda: bare(path), lambda: streamed(path), entries, rounds)
    return {"entries": entries, "file_mb": round(path.stat().st_size / 1e6, 1), **found}


def memory_mb(folder: Path, entries: int) -> float:
    """Peak of a process of its own that streams a file, over what it held before it began."""
    path = folder / f"{entries}.xml"
    if not path.exists():
        write_camt(path, entries)
    command = [sys.executable, "-m", "benchmarks.adapters", "--peak-of", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own file
    return float(done.stdout)


def peak_over_base_mb(path: Path) -> float:
    """How much more the stream of a file takes than this process already has."""
    base_kb = _resident_kb()
    streamed(path)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base_kb) / _KB


def _resident_kb() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


def mt940_speed(entries: int, pairs: int, *, serials: bool = True) -> dict[str, Any]:
    """Rate of the MT940 reader over that of the library, both from bytes to entries."""
    content = mt940_text(entries, serials=serials).encode()
    if mt940_seen_by_us(content) != mt940_seen_by_the_library(content):
        raise SystemExit("the two MT940 readers do not read the same")
    found = paired(
        lambda: len(library.parse(BytesIO(content), options=OPTIONS)),
        lambda: sum(len(one.entries) for one in mt940.parse(content).statements),
        entries,
        pairs,
    )
    return {"entries": entries, "file_mb": round(len(content) / 1e6, 1), **found}


def mt940_seen_by_us(content: bytes) -> list[tuple[int, str, str, str]]:
    """What is compared of every entry before anything is measured."""
    entries = [entry for one in mt940.parse(content).statements for entry in one.entries]
    return [(e.amount_minor, _serial(e), e.end_to_end_id, e.text) for e in entries]


def _serial(entry: Entry) -> str:
    return "" if entry.entry_id.startswith("row-") else entry.entry_id


def mt940_seen_by_the_library(content: bytes) -> list[tuple[int, str, str, str]]:
    """The same from the library, whose amounts are decimals."""
    rows = [row.data for row in library.parse(BytesIO(content), options=OPTIONS)]
    return [
        (
            int(row["amount"].amount * 100),
            row["bank_reference"] or "",
            row["end_to_end_reference"] or "",
            row["purpose"] or "",
        )
        for row in rows
    ]


def paired(
    yardstick: Callable[[], int], ours: Callable[[], int], expected: int, pairs: int
) -> dict[str, float | list[float]]:
    """The median ratio of many pairs, so that a machine busy with other work disturbs it little.

    The two of a pair see the same machine; which of them comes first alternates.
    """
    times = [_pair(yardstick, ours, expected, turn) for turn in range(pairs)]
    ratios = [yardstick_s / ours_s for yardstick_s, ours_s in times]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "yardstick_s": round(statistics.median(one for one, _ in times), 4),
        "ours_s": round(statistics.median(one for _, one in times), 4),
        "pairs": pairs,
        "ratio": round(middle, 2),
        "middle_half": [round(low, 2), round(high, 2)],
    }


def _pair(
    yardstick: Callable[[], int], ours: Callable[[], int], expected: int, turn: int
) -> tuple[float, float]:
    """Seconds of each; neither pays for clearing away what the other left."""
    works = (yardstick, ours) if turn % 2 == 0 else (ours, yardstick)
    times = []
    for work in works:
        gc.collect()
        times.append(seconds(work, expected))
    first, second = times
    return (first, second) if turn % 2 == 0 else (second, first)


def figures(*, quick: bool) -> dict[str, Any]:
    """All figures; quick ones are of small files and only say that nothing is far off."""
    camt_entries, million, rounds = (10_000, 50_000, 2) if quick else (100_000, 1_000_000, 4)
    size = (1_000, 45) if quick else (10_000, 15)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return {
            "python": platform.python_version(),
            "lxml": etree.__version__,
            "quick": quick,
            "camt_over_bare_iterparse": camt_speed(folder, camt_entries, rounds),
            "camt_memory_over_base_mb": {
                str(entries): round(memory_mb(folder, entries), 1)
                for entries in (camt_entries, million)
            },
            "mt940_over_mt_940": mt940_speed(*size),
            "mt940_without_serials_over_mt_940": mt940_speed(*size, serials=False),
        }


def main() -> None:
    """Print the figures and write them."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--quick", action="store_true", help="small files, half a minute")
    arguments.add_argument("--out", type=Path, default=OUT, help="where the JSON goes")
    arguments.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.peak_of:
        print(peak_over_base_mb(chosen.peak_of))
        return
    on, found = results.machine(), figures(quick=chosen.quick)
    results.record("adapters", results.flat("adapters", found), on, quick=chosen.quick)
    text = json.dumps(found, indent=2)
    print(text)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
