"""Reconciles two files without a gateway: the same kernel, the same results, four files out.

Beside them the normalised input is kept in `replay`, so that the run can be proved later.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl
from pydantic import BaseModel, ConfigDict

from reconciliation.archive import Archive, manifest_of
from reconciliation.engines import LocalEngine
from reconciliation.frames import InputError, read
from reconciliation.matching.kernel import Result, merged
from reconciliation.proof import balances_from_entries, proof
from reconciliation.rules import Rules, load_rules
from reconciliation.shards import (
    CROSSED,
    ROWS_A_SHARD,
    Span,
    account_counts,
    crossed_explanations,
    crossings,
    divide,
    unpacked,
    within,
    work_through,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from reconciliation.archive import Manifest
    from reconciliation.engines import Engine
    from reconciliation.shards import Files, Job

REPLAY: Final = "replay"
"""Where the input of a run is kept, inside the directory of its results."""

BALANCES_FROM_ENTRIES: Final = "sum of the entries from zero; no statement balances were given"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputFile(_Value):
    """What was read: rows of data and SHA-256 of the file's bytes."""

    rows: int
    sha256: str


class MatchFigures(_Value):
    """One rule in one currency; amounts in fen, the bank's side.

    `status` is "automatic", or "proposed" for what is open until a person accepts it.
    """

    status: str
    rule: str
    currency: str
    matches: int
    bank_entries: int
    ledger_lines: int
    amount_minor: int


class CaseFigures(_Value):
    """One kind and cause in one currency; amounts in fen, signed sums of either side."""

    kind: str
    cause: str
    currency: str
    cases: int
    bank_entries: int
    ledger_lines: int
    bank_minor: int
    ledger_minor: int


class AccountProof(_Value):
    """The balance proof of one account and day, fen; fields as `proof.proof` gives them."""

    account_id: str
    currency: str
    date: str
    bank_opening_minor: int
    bank_closing_minor: int
    ledger_balance_minor: int
    open_bank_minor: int
    open_ledger_minor: int
    difference_minor: int
    status: str
    findings: tuple[str, ...]


class Summary(_Value):
    """What a run did, and what it did it from; the same inputs give the same summary.

    Attributes:
        as_of: the day that ages were counted to, ISO 8601.
        rules_version: version of the rules.
        rules_digest: SHA-256 of the rules.
        bank: the bank file.
        ledger: the ledger file.
        matched_bank_entries: how many entries are in a match that needs no person.
        matched_ledger_lines: how many lines are in such a match.
        matches_by_rule: such matches of each rule.
        proposed_by_rule: matches of each rule that a person has to accept.
        cases_by_kind: cases of each kind.
        matches: figures by rule and currency.
        cases: figures by kind, cause and currency.
        balances: where the closing balances of the proof came from.
        proof: each account's proof.
        input_digest: SHA-256 of the normalised input, kept in `replay` for a replay.
        outputs: SHA-256 of the three result files, by name.
    """

    as_of: str
    rules_version: str
    rules_digest: str
    bank: InputFile
    ledger: InputFile
    matched_bank_entries: int
    matched_ledger_lines: int
    matches_by_rule: dict[str, int]
    proposed_by_rule: dict[str, int]
    cases_by_kind: dict[str, int]
    matches: tuple[MatchFigures, ...]
    cases: tuple[CaseFigures, ...]
    balances: str
    proof: tuple[AccountProof, ...]
    input_digest: str
    outputs: dict[str, str]


def reconcile_files(  # noqa: PLR0913 - what the command is told
    bank: Path,
    ledger: Path,
    out: Path,
    rules: Path | None,
    as_of: date | None,
    progress: Callable[[str], None],
    *,
    engine: Engine | None = None,
    rows_a_shard: int = ROWS_A_SHARD,
) -> Summary:
    """Reads, matches, explains, and writes four files into `out`.

    They are matches.parquet, cases.parquet, explanations.parquet and summary.json.

    Args:
        bank: Parquet or CSV, columns as `frames.BANK`.
        ledger: Parquet or CSV, columns as `frames.LEDGER`.
        out: directory, made if it is not there; results in it are replaced, one file at a time
            and the summary last. It carries the digests of the others. The input is kept in
            its subdirectory `replay`.
        rules: TOML or JSON file, or None for the default rules.
        as_of: the day that ages are counted to; None for the latest date in the inputs.
        progress: told in a few words what is being done.
        engine: where shards are worked on, processes of this machine by default; the results are
            the same.
        rows_a_shard: how many rows a shard may have; the results are the same.

    Raises:
        InputError: an input cannot be read or does not fit; nothing is written.
        RulesError: the rules cannot be used; nothing is written.
        EngineError: workers died again and again; nothing is written.
        OSError: `out` cannot be written.
    """
    held = Rules() if rules is None else load_rules(rules)
    progress("reading the bank's entries")
    entries = read(bank, "bank")
    progress("reading the ledger's lines")
    lines = read(ledger, "ledger")
    day = _latest_date(entries, lines) if as_of is None else as_of
    out.mkdir(parents=True, exist_ok=True)
    # Everything under temporary names first, then renamed: no reader sees half a file.
    with tempfile.TemporaryDirectory(prefix=".part-", dir=out) as name:
        archive = Archive(Path(name) / REPLAY)
        manifest = _keep(archive, entries, lines, held, day, rows_a_shard)
        progress(f"matching {entries.height:,} entries with {lines.height:,} lines")
        result, explanations = solved(archive, manifest, engine or LocalEngine(), progress)
        progress("proving balances")
        proved = proof(balances_from_entries(entries, lines, day), entries, lines, result)
        progress("writing results")
        files = (_input(bank, entries), _input(ledger, lines))
        outputs = write_outputs(result, explanations, Path(name))
        summary = _summary(manifest, files, result, proved, outputs)
        text = summary.model_dump_json(indent=2) + "\n"
        (Path(name) / "summary.json").write_text(text, "utf-8")
        _publish(Path(name), out)
    return summary


def _keep(
    archive: Archive,
    entries: pl.DataFrame,
    lines: pl.DataFrame,
    rules: Rules,
    day: date,
    rows_a_shard: int,
) -> Manifest:
    """Writes the input by shards; one of nothing if there is nothing."""
    spans = list(divide(account_counts(entries, lines), rows_a_shard)) or [Span("", "", 0)]
    shards = [
        archive.write_shard(
            number, span, {"bank": within(entries, span), "ledger": within(lines, span)}
        )
        for number, span in enumerate(spans)
    ]
    manifest = manifest_of(day, rules, shards)
    archive.write_manifest(manifest)
    return manifest


def solved(
    archive: Archive, manifest: Manifest, engine: Engine, progress: Callable[[str], None]
) -> tuple[Result, pl.DataFrame]:
    """The result of an archived input, in the order of its accounts, and its explanations.

    Raises:
        ArchiveError: an input is missing or changed.
        EngineError: workers died again and again.
    """
    count = len(manifest.shards)

    def load(number: int) -> Job:
        return archive.job(manifest, number)

    crossed, by_shard = crossings(load, count, engine)
    parts: dict[int, Result] = {}
    told: dict[int, pl.DataFrame] = {}
    for number, files in work_through(load, range(count), by_shard, engine):
        parts[number], told[number] = _result(files), unpacked(files["explanations"])
        if count > 1:
            progress(f"matched {len(parts)} of {count} shards")
    ordered = [parts[number] for number in range(count)]
    result = ordered[0] if count == 1 else merged(ordered, crossed)
    told[count] = _crossed_explanations(result, load, count, manifest.rules)
    return result, _in_order(result, pl.concat(told[number] for number in range(count + 1)))


def _result(files: Files) -> Result:
    return Result(*(unpacked(files[name]) for name in ("matches", "cases", "searches")))


def _crossed_explanations(
    result: Result, load: Callable[[int], Job], count: int, rules: Rules
) -> pl.DataFrame:
    """Of cases over two accounts; their shards are read again, if there are any."""
    homes = result.cases.filter(kind=CROSSED)["account_id"].implode()
    sides = [
        pl.concat(
            load(number).frame(side).filter(pl.col("account_id").is_in(homes))
            for number in range(count)
        )
        for side in ("bank", "ledger")
    ]
    return crossed_explanations(sides[0], sides[1], result, rules)


def _in_order(result: Result, explanations: pl.DataFrame) -> pl.DataFrame:
    """Explanations in the order of the matches and cases that they explain."""
    ids = pl.concat([result.matches.select(id="match_id"), result.cases.select(id="case_id")])
    return ids.unique(maintain_order=True).join(explanations, on="id", maintain_order="left")


def write_outputs(result: Result, explanations: pl.DataFrame, folder: Path) -> dict[str, str]:
    """Writes the result files and returns the SHA-256 of each by its name."""
    frames = {"matches": result.matches, "cases": result.cases, "explanations": explanations}
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    return {file.name: _sha256(file) for file in sorted(folder.glob("*.parquet"))}


def _publish(part: Path, out: Path) -> None:
    """Replaces the results one by one, the summary last."""
    shutil.rmtree(out / REPLAY, ignore_errors=True)
    results = sorted(each.name for each in part.iterdir() if each.name != "summary.json")
    for name in (*results, "summary.json"):
        (part / name).replace(out / name)


def _latest_date(entries: pl.DataFrame, lines: pl.DataFrame) -> date:
    """The latest date of either side.

    Raises:
        InputError: there is no date, since both inputs are empty.
    """
    dates = pl.concat([entries["booking_date"], lines["effective_date"].alias("booking_date")])
    latest = dates.cast(pl.Date).max()
    if latest is None:
        raise InputError("bank", "both inputs are empty: say as of which day")
    return latest  # type: ignore[return-value]


def _input(path: Path, frame: pl.DataFrame) -> InputFile:
    return InputFile(rows=frame.height, sha256=_sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _summary(
    manifest: Manifest,
    files: tuple[InputFile, InputFile],
    result: Result,
    proved: pl.DataFrame,
    outputs: dict[str, str],
) -> Summary:
    matches, cases = _match_figures(result.matches), _case_figures(result.cases)
    return Summary(
        as_of=manifest.as_of.isoformat(),
        rules_version=manifest.rules.version,
        rules_digest=manifest.rules_digest,
        bank=files[0],
        ledger=files[1],
        matched_bank_entries=sum(f.bank_entries for f in matches if f.status == "automatic"),
        matched_ledger_lines=sum(f.ledger_lines for f in matches if f.status == "automatic"),
        matches_by_rule=_tally(result.matches.filter(status="automatic"), "match_id", "rule"),
        proposed_by_rule=_tally(result.matches.filter(status="proposed"), "match_id", "rule"),
        cases_by_kind=_tally(result.cases, "case_id", "kind"),
        matches=matches,
        cases=cases,
        balances=BALANCES_FROM_ENTRIES,
        proof=_proofs(proved),
        input_digest=manifest.input_digest,
        outputs=outputs,
    )


def _tally(members: pl.DataFrame, group: str, name: str) -> dict[str, int]:
    counts = members.group_by(name).agg(pl.col(group).n_unique()).sort(name)
    return dict(counts.iter_rows())


def _match_figures(members: pl.DataFrame) -> tuple[MatchFigures, ...]:
    on_bank = pl.col("side") == "bank"
    rows = _figures(
        members,
        ["status", "rule", "currency"],
        matches=pl.col("match_id").n_unique(),
        bank_entries=on_bank.sum(),
        ledger_lines=(pl.col("side") == "ledger").sum(),
        amount_minor=pl.col("allocated_minor").filter(on_bank).sum(),
    )
    return tuple(MatchFigures.model_validate(row) for row in rows)


def _case_figures(members: pl.DataFrame) -> tuple[CaseFigures, ...]:
    on_bank = pl.col("side") == "bank"
    rows = _figures(
        members,
        ["kind", "cause", "currency"],
        cases=pl.col("case_id").n_unique(),
        bank_entries=on_bank.sum(),
        ledger_lines=(~on_bank).sum(),
        bank_minor=pl.col("amount_minor").filter(on_bank).sum(),
        ledger_minor=pl.col("amount_minor").filter(~on_bank).sum(),
    )
    return tuple(CaseFigures.model_validate(row) for row in rows)


def _figures(members: pl.DataFrame, key: Sequence[str], **sums: pl.Expr) -> list[dict[str, object]]:
    return members.group_by(key).agg(**sums).sort(key).to_dicts()


def _proofs(proved: pl.DataFrame) -> tuple[AccountProof, ...]:
    rows = proved.with_columns(pl.col("date").dt.to_string("iso")).iter_rows(named=True)
    return tuple(AccountProof.model_validate(row) for row in rows)
