"""The one writer of what was measured: `results.json` for programs, `results.md` for people.

Each benchmark records its figures under names of its own; those of the others stay as they were,
with when and how they were measured.
"""

from __future__ import annotations

import json
import os
import platform
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc

from benchmarks.rig import OPEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    Figures = dict[str, Any]

FOLDER: Final = Path(__file__).parent
_NAMED_BY: Final = ("case", "seed", "name")
"""Which column names the rows of a list."""


def machine() -> dict[str, Any]:
    """On what this is measured."""
    names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "grpcio": grpc.__version__,
        "load_before": round(os.getloadavg()[0], 1),
        "date": date.today().isoformat(),  # noqa: DTZ011 - where it was measured
    }


def record(
    name: str, figures: Figures, on: dict[str, Any], *, quick: bool, folder: Path = FOLDER
) -> str:
    """Adds a benchmark's figures to those of the others, and returns all of them as Markdown.

    Args:
        name: of the benchmark, ``python -m benchmarks.<name>``.
        figures: what it found, replacing what it found before.
        on: `machine`, as it was before the benchmark began.
        quick: whether less of everything was done.
        folder: where the results lie.
    """
    path = folder / "results.json"
    there = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    benchmarks = there.get("benchmarks", {})
    gone = benchmarks.get(name, {}).get("names", [])
    # What no benchmark here has recorded is of an older form, and nobody's any more.
    theirs = there.get("figures", {}) if benchmarks else {}
    kept = {key: value for key, value in theirs.items() if key not in gone}
    benchmarks[name] = {
        "date": on["date"],
        "load_before": on["load_before"],
        "quick": quick,
        "names": list(figures),
    }
    found = {
        "machine": on | {"quick": quick},
        "benchmarks": benchmarks,
        "figures": kept | figures,
    }
    text = json.dumps(found, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    told = markdown(found)
    (folder / "results.md").write_text(told, encoding="utf-8")
    return told


def flat(prefix: str, found: Any) -> Figures:  # noqa: ANN401 - whatever was measured
    """Nested findings as figures with one name each; a row of a list by what names it.

    Words and answers of yes or no are no figures.
    """
    match found:
        case dict():
            parts = [(key, value) for key, value in found.items() if key not in _NAMED_BY]
        case [dict(), *_]:
            parts = [(_row_name(number, row), row) for number, row in enumerate(found)]
        case bool() | str():
            return {}
        case _:
            return {prefix: found}
    return {
        name: figure
        for key, value in parts
        for name, figure in flat(f"{prefix}_{key}", value).items()
    }


def _row_name(number: int, row: Figures) -> str:
    named = [str(row[column]) for column in _NAMED_BY if column in row]
    return named[0] if named else str(number)


# --- for people -------------------------------------------------------------------------------


def markdown(found: dict[str, Any]) -> str:
    """All figures as tables, those of the core with words, the others by their names."""
    on, figures = found["machine"], found["figures"]
    parts = [f"# Figures\n\n{on['cores']} cores ({on['processor']}), Python {on['python']}.\n"]
    for name, measured in found["benchmarks"].items():
        rows = (
            list(_core(figures))
            if name == "core"
            else [(f"`{key}`", _told(figures[key]), "") for key in measured["names"]]
        )
        parts.append(_section(name, measured, rows))
    return "\n".join(parts)


def _section(name: str, measured: dict[str, Any], rows: list[tuple[str, str, str]]) -> str:
    head = (
        f"## {name}\n\n"
        f"Measured {measured['date']} by `python -m benchmarks.{name}"
        f"{' --quick' if measured['quick'] else ''}`; load average before:"
        f" {measured['load_before']}.{_HOW.get(name, '')}\n\n"
        "| what | figure | remarks |\n|---|---|---|\n"
    )
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


_HOW: Final = {
    "core": f" Server, database and load share the cores; {OPEN} calls open at a time unless"
    " told, fsync on, TLS with client certificates; rows counted afterwards. Reads are measured at"
    " the caller, by the trustee of all estates."
}


def _told(figure: Any) -> str:  # noqa: ANN401 - whatever was measured
    return f"{figure:,}" if isinstance(figure, int) else str(figure).replace("|", "/")


def _core(figures: Figures) -> Iterator[tuple[str, str, str]]:
    yield from _calls(figures)
    yield from _reads(figures)
    yield from _log(figures)


def _calls(figures: Figures) -> Iterator[tuple[str, str, str]]:
    for name, label in (
        ("echo_bare", "echo, nothing around it"),
        ("echo", "echo on the gateway's server: TLS, identity, rules, log"),
        ("submit_hot", "SubmitPayment, all for one fund"),
        ("submit_many", f"SubmitPayment over {figures['funds']:,} funds"),
        ("sign_first", "SignPayment, first signature"),
        ("sign_second", "SignPayment, second signature with release"),
    ):
        rate = f"{figures[f'{name}_per_s']:,}/s, {_latency(figures, name)}"
        yield label, rate, _processor(figures, name)
    yield "SubmitPayment to echo", f"{figures['submit_unary_vs_echo']}", "one fund"
    yield "SubmitPayment to echo", f"{figures['submit_many_vs_echo']}", "many funds"
    yield "SignPayment to echo", f"{figures['sign_unary_vs_echo']}", "both signatures"
    bulk = figures["bulk_payments_per_s"]
    yield "SubmitPayments, a thousand a stream", f"{bulk:,} payments/s", "two processes"
    first, second = figures["batch_first_signature_ms"], figures["batch_second_signature_ms"]
    yield "SignBatch of 1,000", f"{first:,} ms, then {second:,} ms", "the second one releases"
    yield "plain SQL by pgbench", f"{figures['pgbench_payments_per_s']:,} payments/s", "many funds"
    naive = f"{figures['naive_hot_per_s']:,}/s, {figures['naive_many_per_s']:,}/s"
    yield "SubmitPayment with a commit each", naive, "one fund, many funds"


def _reads(figures: Figures) -> Iterator[tuple[str, str, str]]:
    lines = f"of a fund of {figures['lines']:,} lines"
    for name, label in (
        ("balance", "balance"),
        ("balance_as_of", "balance as of any day"),
        ("lines_page", "a page of 100 lines from any day on"),
        ("lines_page_of_a_day", "a page of 100 lines of any day"),
        ("pending_page", "a page of 100 pending lines"),
        ("journal_page", "a page of 100 journal lines"),
        ("summary", "summary of 24 months"),
        ("lines_page_8_callers", "a page from any day on, 8 callers at a time"),
        ("balance_beside_writes", "balance beside SubmitPayment by 8 callers"),
        ("lines_page_beside_writes", "a page beside SubmitPayment by 8 callers"),
        ("lines_page_beside_log", "a page while the log takes all lines"),
    ):
        yield f"{label}, {lines}", _latency(figures, name), _processor(figures, name)
    before = figures["server_memory_before_pages_mb"]
    after = figures["server_memory_after_pages_mb"]
    told = f"{before} MB before, {after} MB after"
    yield f"memory of the server over {figures['pages_streamed']:,} pages", told, "1,000 lines each"


def _log(figures: Figures) -> Iterator[tuple[str, str, str]]:
    leaf, alone, group = (
        figures[name] for name in ("leaf_us", "posting_us", "posting_in_groups_us")
    )
    yield (
        "a leaf of the log",
        f"{leaf:,} µs",
        f"posting its line {alone:,} µs, in groups {group:,} µs",
    )
    yield "a leaf to a posting", f"{figures['leaf_to_posting']}", "a transaction each"
    yield (
        "a leaf to a posting",
        f"{figures['leaf_to_posting_in_groups']}",
        "a thousand a transaction",
    )
    yield "lines that the log takes", f"{figures['leaves_per_s']:,}/s", "beside a reader"
    told = f"of {figures['leaves']:,} leaves"
    yield f"a proof {told}", _latency(figures, "proof"), "from the database to its file"
    yield f"GetLineProof {told}", _latency(figures, "proof_call"), "the whole call"


def _latency(figures: Figures, name: str) -> str:
    return f"p50 {figures[f'{name}_p50_ms']} ms, p99 {figures[f'{name}_p99_ms']} ms"


def _processor(figures: Figures, name: str) -> str:
    """Processor time of a call; of one beside other work it would be theirs as well."""
    if "_beside_" in name:
        return ""
    server, database = figures[f"{name}_server_us"], figures[f"{name}_database_us"]
    return f"server {server:,} µs, database {database:,} µs"
