"""A run's input on disk before it is worked on: it can go on after any end, and be replayed.

Each file appears whole or not at all: written under another name, flushed to the disk, renamed. The
manifest comes last and names the SHA-256 of every input; what a shard gave has a note of its own,
last too.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from datetime import date  # noqa: TC003 - pydantic reads it
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from reconciliation.rules import Rules  # noqa: TC001 - pydantic reads it
from reconciliation.shards import Job, packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reconciliation.shards import Files, Span

MANIFEST: Final = "manifest.json"
_JOB: Final[tuple[str, ...]] = ("bank", "ledger", "closed", "pins")


class ArchiveError(ValueError):
    """An archive that is not whole: the message names the file."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shard(_Value):
    """One shard's input: its first and last key, its open rows, SHA-256 by the frames' names."""

    first: str
    last: str
    rows: int
    files: dict[str, str]


class Manifest(_Value):
    """What a run was given.

    Attributes:
        version: of the archive.
        as_of: the day up to which it reconciles.
        rules: as they were configured.
        rules_digest: their SHA-256.
        demoted: rules that were not automatic in this run, because persons took back too much.
        moment: when the input was read, ISO 8601; empty where that does not matter.
        explained: whether each shard is explained by itself.
        shards: the inputs.
        input_digest: SHA-256 over the day, the rules, what was demoted, and the shards.
        libraries: what the results' bytes may depend on.
    """

    version: Literal[1] = 1
    as_of: date
    rules: Rules
    rules_digest: str
    demoted: tuple[str, ...]
    moment: str
    explained: bool
    shards: tuple[Shard, ...]
    input_digest: str
    libraries: dict[str, str]

    def held_rules(self) -> Rules:
        """The rules that the run holds to: the configured ones less what was demoted."""
        return self.rules.without_automatic(self.demoted)


def libraries() -> dict[str, str]:
    """What is installed here of `Manifest.libraries`."""
    return {
        "polars": pl.__version__,
        "python": platform.python_version(),
        "xinyi-gateway": version("xinyi-gateway"),
    }


def manifest_of(
    as_of: date,
    rules: Rules,
    shards: Sequence[Shard],
    demoted: Sequence[str] = (),
    moment: str = "",
    *,
    explained: bool = False,
) -> Manifest:
    """The manifest of inputs that are written."""
    return Manifest(
        as_of=as_of,
        rules=rules,
        rules_digest=rules.digest(),
        demoted=tuple(demoted),
        moment=moment,
        explained=explained,
        shards=tuple(shards),
        input_digest=_input_digest(as_of, rules.digest(), demoted, shards),
        libraries=libraries(),
    )


def _input_digest(
    as_of: date, rules_digest: str, demoted: Sequence[str], shards: Sequence[Shard]
) -> str:
    files = [each.files for each in shards]
    return _digest([as_of.isoformat(), rules_digest, list(demoted), files])


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def result_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the digests of a shard's results, by name."""
    return _digest({name: sha256(content).hexdigest() for name, content in files.items()})


def output_digest(digests: Sequence[str]) -> str:
    """SHA-256 over the results of all shards, in order."""
    return _digest(list(digests))


@dataclass(frozen=True, slots=True)
class Archive:
    """The directory of one run."""

    directory: Path

    # --- input ----------------------------------------------------------------------------------

    def write_shard(self, number: int, span: Span, frames: Mapping[str, pl.DataFrame]) -> Shard:
        """Writes a shard's input."""
        self.directory.mkdir(parents=True, exist_ok=True)
        files = {name: packed(frame) for name, frame in frames.items()}
        for name, content in files.items():
            self._put(self._path(number, name), content)
        digests = {name: sha256(content).hexdigest() for name, content in files.items()}
        return Shard(first=span.first, last=span.last, rows=span.rows, files=digests)

    def write_manifest(self, manifest: Manifest) -> None:
        """Completes the input."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._put(self.directory / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")

    def manifest(self) -> Manifest:
        """The manifest.

        Raises:
            ArchiveError: there is none, or it contradicts itself.
        """
        path = self.directory / MANIFEST
        try:
            said = Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ArchiveError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
        digest = _input_digest(said.as_of, said.rules.digest(), said.demoted, said.shards)
        if (digest, said.rules.digest()) != (said.input_digest, said.rules_digest):
            raise ArchiveError(f"{path} is not what its digests say")
        return said

    def check(self, manifest: Manifest) -> None:
        """Reads every input once.

        Raises:
            ArchiveError: one of them is missing or changed.
        """
        for number, shard in enumerate(manifest.shards):
            for name in shard.files:
                self.read(manifest, number, name)

    def read(self, manifest: Manifest, number: int, name: str) -> bytes:
        """One input of a shard.

        Raises:
            ArchiveError: it is missing or changed.
        """
        return _checked(self._path(number, name), manifest.shards[number].files[name])

    def job(self, manifest: Manifest, number: int) -> Job:
        """A shard, ready to be worked on.

        Raises:
            ArchiveError: an input is missing or changed.
        """
        names = [name for name in _JOB if name in manifest.shards[number].files]
        files = {name: self.read(manifest, number, name) for name in names}
        rules = manifest.held_rules().model_dump_json()
        return Job(manifest.as_of, rules, files, manifest.explained)

    # --- results --------------------------------------------------------------------------------

    def write_result(self, number: int, files: Files) -> str:
        """Keeps what came of a shard; the same again changes nothing. Returns its digest."""
        for name, content in files.items():
            self._put(self._path(number, name), content)
        digests = {name: sha256(content).hexdigest() for name, content in files.items()}
        self._put(self._note(number), json.dumps(digests, sort_keys=True).encode() + b"\n")
        return result_digest(files)

    def result(self, number: int) -> Files | None:
        """What came of a shard, None if nothing has come yet.

        Raises:
            ArchiveError: it came and is whole no longer.
        """
        try:
            digests = json.loads(self._note(number).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ArchiveError(f"{self._note(number)} cannot be read: {error}") from error
        return {
            name: _checked(self._path(number, name), digest) for name, digest in digests.items()
        }

    # --- files ----------------------------------------------------------------------------------

    def _path(self, number: int, name: str) -> Path:
        return self.directory / f"{number:05d}-{name}.parquet"

    def _note(self, number: int) -> Path:
        return self.directory / f"{number:05d}-result.json"

    def _put(self, path: Path, content: bytes) -> None:
        """The file whole or not at all, also where the machine stops."""
        part = path.with_name(f".{path.name}.part")
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _checked(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error
    if sha256(content).hexdigest() != digest:
        raise ArchiveError(f"{path} is not the file that was written")
    return content
