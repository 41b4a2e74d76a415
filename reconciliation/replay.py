"""Proves a run: works on its kept input again and compares every byte with what it gave."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from reconciliation.archive import (
    MANIFEST,
    Archive,
    ArchiveError,
    libraries,
    output_digest,
    result_digest,
)
from reconciliation.engines import LocalEngine
from reconciliation.offline import REPLAY, Summary, solved, write_outputs
from reconciliation.shards import crossings, unpacked, work_through

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciliation.archive import Manifest
    from reconciliation.engines import Engine
    from reconciliation.shards import Job


class Certificate(BaseModel):
    """What a replay has shown.

    Attributes:
        run: the directory.
        as_of: the day of the run, ISO 8601.
        input_digest: SHA-256 of the input, which every file of it was held against.
        rules_version: version of the rules.
        rules_digest: their SHA-256.
        demoted_rules: rules that were not automatic in this run.
        shard_count: into how many shards the input is divided.
        recorded_digest: SHA-256 of what the run gave.
        recomputed_digest: SHA-256 of what the replay gave.
        identical: whether both are the same, byte for byte.
        difference: if not, the first file and row that differ.
        recorded_libraries: what the run was made with.
        libraries: what the replay was made with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    as_of: str
    input_digest: str
    rules_version: str
    rules_digest: str
    demoted_rules: tuple[str, ...]
    shard_count: int
    recorded_digest: str
    recomputed_digest: str
    identical: bool
    difference: str
    recorded_libraries: dict[str, str]
    libraries: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was recorded, what came again, and the first difference."""

    recorded_digest: str
    recomputed_digest: str
    difference: str


def replay(
    directory: Path, progress: Callable[[str], None], engine: Engine | None = None
) -> Certificate:
    """Runs the kernel again over a kept input.

    Args:
        directory: what `xinyi reconcile --out` wrote, or the archive of a gateway's run.
        progress: told in a few words what is being done.
        engine: where shards are worked on, processes of this machine by default.

    Raises:
        ArchiveError: the archive is not whole, so that nothing can be proved.
        EngineError: workers died again and again.
    """
    offline = (directory / REPLAY / MANIFEST).is_file()
    archive = Archive(directory / REPLAY if offline else directory)
    manifest = archive.manifest()
    progress("checking the input")
    archive.check(manifest)
    compare = _compare_files if offline else _compare_shards
    seen = compare(directory, archive, manifest, engine or LocalEngine(), progress)
    return Certificate(
        run=str(directory),
        as_of=manifest.as_of.isoformat(),
        input_digest=manifest.input_digest,
        rules_version=manifest.rules.version,
        rules_digest=manifest.rules_digest,
        demoted_rules=manifest.demoted,
        shard_count=len(manifest.shards),
        recorded_digest=seen.recorded_digest,
        recomputed_digest=seen.recomputed_digest,
        identical=not seen.difference,
        difference=seen.difference,
        recorded_libraries=manifest.libraries,
        libraries=libraries(),
    )


def _compare_files(
    directory: Path,
    archive: Archive,
    manifest: Manifest,
    engine: Engine,
    progress: Callable[[str], None],
) -> _Seen:
    """An offline run: the files beside the summary, and what the summary says of them."""
    said = _summary(directory)
    if said.input_digest != manifest.input_digest:
        raise ArchiveError(f"{directory / REPLAY} is not the input that summary.json names")
    made = solved(archive, manifest, engine, progress)
    with tempfile.TemporaryDirectory() as name:
        write_outputs(*made, Path(name))
        again = {file: (Path(name) / file).read_bytes() for file in said.outputs}
    kept = {file: _kept(directory / file) for file in said.outputs}
    difference = _difference(kept, again) or _untrue(said.outputs, kept)
    return _Seen(
        output_digest([digest for _, digest in sorted(said.outputs.items())]),
        output_digest([sha256(again[file]).hexdigest() for file in sorted(again)]),
        difference,
    )


def _summary(directory: Path) -> Summary:
    path = directory / "summary.json"
    try:
        return Summary.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ArchiveError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _kept(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error


def _untrue(recorded: Mapping[str, str], kept: Mapping[str, bytes]) -> str:
    """The first file that is not what the summary says, though it may be what comes again."""
    wrong = [
        name for name, content in kept.items() if sha256(content).hexdigest() != recorded[name]
    ]
    return f"{min(wrong)}: summary.json names another SHA-256" if wrong else ""


def _compare_shards(
    _directory: Path,
    archive: Archive,
    manifest: Manifest,
    engine: Engine,
    progress: Callable[[str], None],
) -> _Seen:
    """A gateway's run: what each shard gave."""
    count = len(manifest.shards)

    def load(number: int) -> Job:
        return archive.job(manifest, number)

    _, crossed = crossings(load, count, engine)
    recorded, recomputed, differences = {}, {}, {}
    for number, again in work_through(load, range(count), crossed, engine):
        kept = archive.result(number)
        if kept is None:
            raise ArchiveError(f"{archive.directory} has no result of shard {number}: unfinished")
        recorded[number], recomputed[number] = result_digest(kept), result_digest(again)
        differences[number] = _difference(kept, again)
        progress(f"replayed {len(recorded)} of {count} shards")
    told = [
        f"shard {number}, {differences[number]}" for number in range(count) if differences[number]
    ]
    return _Seen(
        output_digest([recorded[number] for number in range(count)]),
        output_digest([recomputed[number] for number in range(count)]),
        told[0] if told else "",
    )


def _difference(kept: Mapping[str, bytes], again: Mapping[str, bytes]) -> str:
    """The first file that differs, and where; empty if none does."""
    for name in sorted(kept):
        if kept[name] != again.get(name):
            return f"{name}: {_where(kept[name], again.get(name, b''))}"
    return ""


def _where(kept: bytes, again: bytes) -> str:
    try:
        left, right = unpacked(kept), unpacked(again)
    except pl.exceptions.PolarsError:
        return "it cannot be read"
    if left.schema != right.schema:
        return "other columns"
    for number, (one, other) in enumerate(
        zip(left.iter_rows(), right.iter_rows(), strict=False), 1
    ):
        if one != other:
            return f"row {number} differs"
    if left.height != right.height:
        return f"row {min(left.height, right.height) + 1} is on one side only"
    return "the same rows in other bytes"
