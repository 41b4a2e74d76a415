"""`make release`: what is handed to an operator, built from the last commit and proved.

Source archive and wheel (built twice, byte for byte the same), the locked run-time dependencies, a
bill of materials, licences and known weaknesses looked at, checksums. The wheel is installed into
an empty environment, and the whole demo is run from there.

Exit status: 0 all of it, 1 something is wrong with it, 3 the advisories could not be asked.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = "xinyi-gateway"

WRONG: Final = 1
NOT_ASKED: Final = 3

_COPYLEFT: Final = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)
# Of SPDX, in capitals: "or later" is no choice.
_CHOICE: Final = " OR "
_ALL_OF: Final = " AND "

LICENCES: Final[Mapping[str, str]] = {
    "polars-hash": "MIT",  # LICENSE of its repository; its wheel has none
    "protobuf": "BSD-3-Clause",  # LICENSE in its wheel
}
"""Of packages that do not say theirs in a way that programs read."""


class ReleaseError(Exception):
    """What keeps this commit from being released."""


def main() -> int:
    """Builds everything into the directory that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", type=Path, required=True, help="environment of the tools")
    parser.add_argument("--out", type=Path, required=True, help="where it goes; emptied first")
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    try:
        return _release(given.tools.absolute() / "bin", given.out.absolute())
    except ReleaseError as error:
        print(f"make release: {error}", file=sys.stderr)
        return WRONG


def _release(tools: Path, out: Path) -> int:
    # Below no directory that only its owner may enter: PostgreSQL is another user.
    with tempfile.TemporaryDirectory(prefix="xinyi-release-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        wheel = _build_twice(tools, scratch, out)
        locked = out / "requirements.lock"
        locked.write_text(run_time_lock((ROOT / "requirements.lock").read_text("utf-8")), "utf-8")
        python = _install(scratch / "environment", locked, wheel)
        _try_out(python.parent, scratch)
        bill = out / "sbom.cdx.json"
        _write_bill(tools, python, bill)
        _check_licences(json.loads(bill.read_text("utf-8")))
        asked = _audit(tools, locked, out / "audit.json")
    _write_sums(out)
    return 0 if asked else NOT_ASKED


# --- building -----------------------------------------------------------------------------------


def _build_twice(tools: Path, scratch: Path, out: Path) -> Path:
    """Builds the last commit in two places, and keeps it if both gave the same bytes."""
    changed = _said("git", "status", "--porcelain")
    if changed:
        _tell("the work tree differs from the last commit, of which this is the release")
    first, second = _build(tools, scratch / "one"), _build(tools, scratch / "another-place")
    names = sorted(path.name for path in first.iterdir())
    _, different, missing = filecmp.cmpfiles(first, second, names, shallow=False)
    if different or missing:
        raise ReleaseError(f"two builds of one commit differ: {[*different, *missing]}")
    for name in names:
        shutil.copy(first / name, out)
        _tell(f"{name}: the same from two builds")
    (wheel,) = out.glob("*.whl")
    return wheel


def _build(tools: Path, place: Path) -> Path:
    """Source archive and wheel of the last commit, from a copy of it at this place."""
    source, made = place / "source", place / "made"
    source.mkdir(parents=True)
    archive = place / "source.tar"
    _run("git", "archive", "--output", str(archive), "HEAD")
    _run("tar", "-xf", str(archive), "-C", str(source))
    moment = {"SOURCE_DATE_EPOCH": _said("git", "log", "-1", "--format=%ct")}
    _run(str(tools / "hatchling"), "build", "-d", str(made), at=source, more=moment)
    return made


# --- dependencies -------------------------------------------------------------------------------


def run_time_lock(lock: str) -> str:
    """Of a lock with everything, what the package needs where it runs, on any platform."""
    needed = set(_needed(Requirement(PACKAGE), set()))
    return "".join(text for name, text in _entries(lock) if name in needed)


def _entries(lock: str) -> Iterator[tuple[str, str]]:
    """Each package of a lock with its lines, without remarks."""
    kept = (line for line in lock.splitlines() if not line.lstrip().startswith("#"))
    for entry in re.split(r"\n(?=\S)", "\n".join(kept)):
        yield canonicalize_name(re.split(r"[=\[ ;]", entry)[0]), entry.rstrip() + "\n"


def _needed(requirement: Requirement, seen: set[tuple[str, frozenset[str]]]) -> Iterator[str]:
    """The names of all that a package needs, itself left out."""
    key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
    if key in seen:
        return
    seen.add(key)
    if key[0] != PACKAGE:
        yield key[0]
    try:
        lines = requires(requirement.name) or ()
    except PackageNotFoundError:  # of another platform
        return
    for line in lines:
        further = Requirement(line)
        if _applies(further, requirement.extras):
            yield from _needed(further, seen)


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    """Whether it is needed with these extras on some platform."""
    marker = requirement.marker
    if marker is None or "extra" not in str(marker):
        return True
    return any(marker.evaluate({"extra": extra}) for extra in extras)


def _install(place: Path, locked: Path, wheel: Path) -> Path:
    """An environment with nothing but the package and what is locked; returns its Python."""
    _run(sys.executable, "-m", "venv", "--without-pip", str(place))
    python = place / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet")
    quiet = ("--disable-pip-version-check", "--retries", "5")
    _run(*pip, *quiet, "--require-hashes", "-r", str(locked))
    _run(*pip, *quiet, "--no-deps", str(wheel))
    return python


def _try_out(binaries: Path, scratch: Path) -> None:
    """The installed command, away from this repository and from every setting of ours."""
    home = scratch / "home"
    home.mkdir()
    alone = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
    for args in (("--help",), ("demo",)):
        _run(str(binaries / "xinyi"), *args, at=home, only=alone)
        _tell(f"xinyi {args[0]}: works from the wheel")


# --- what is in it --------------------------------------------------------------------------------


def _write_bill(tools: Path, python: Path, bill: Path) -> None:
    _run(
        str(tools / "cyclonedx-py"),
        "environment",
        "--pyproject",
        str(ROOT / "pyproject.toml"),
        "--mc-type",
        "application",
        "--output-reproducible",
        "--output-format",
        "JSON",
        "--output-file",
        str(bill),
        str(python),
    )


def _check_licences(bill: Mapping[str, Any]) -> None:
    components = [each for each in bill["components"] if each["name"] != PACKAGE]
    wrong = [
        f"{each['name']} {each['version']}: {why}"
        for each in components
        if (why := objection(each["name"], licences_of(each)))
    ]
    if wrong:
        raise ReleaseError("licences that do not fit:\n  " + "\n  ".join(wrong))
    _tell(f"{len(components)} packages at run time, none of them under GPL or AGPL alone")


def licences_of(component: Mapping[str, Any]) -> list[str]:
    """The licences that a component of the bill names: SPDX expressions, ids or names."""
    return [
        entry.get("expression") or entry["license"].get("id") or entry["license"].get("name", "")
        for entry in component.get("licenses", ())
    ]


def objection(name: str, licences: Sequence[str]) -> str:
    """Why a package may not be part of it; empty if it may."""
    said = [LICENCES[name]] if name in LICENCES else licences
    if not any(said):
        return "says nothing; read it and note it in LICENCES"
    return ", ".join(each for each in said if _binds(each))


def _binds(licence: str) -> bool:
    """Whether it is copyleft of the strong kind, with nothing else to choose."""
    chosen = _CHOICE in licence and _ALL_OF not in licence
    return bool(_COPYLEFT.search(_without_lesser(licence))) and not chosen


def _without_lesser(licence: str) -> str:
    return re.sub(r"LGPL|GNU (Lesser|Library) General Public", "", licence, flags=re.IGNORECASE)


def _audit(tools: Path, locked: Path, report: Path) -> bool:
    """Asks for known weaknesses; False if nobody answers.

    Raises:
        ReleaseError: a package has one.
    """
    done = subprocess.run(  # noqa: S603 - our own tool
        [
            str(tools / "pip-audit"),
            "--requirement",
            str(locked),
            "--require-hashes",
            "--disable-pip",
            "--progress-spinner=off",
            "--format=json",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        _tell(f"NOT audited, the advisories cannot be asked from here: {last}")
        return False
    if not is_audited(packages):
        return False
    report.write_text(done.stdout, "utf-8")
    return True


def is_audited(packages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the advisories were asked about every package; says of which they were not.

    A mirror that has packages and no advisories knows none of them, which is no clean bill.

    Raises:
        ReleaseError: a package has a known weakness.
    """
    weak = [
        f"{each['name']} {each['version']}: {weakness['id']}"
        for each in packages
        for weakness in each.get("vulns", ())
    ]
    if weak:
        raise ReleaseError("known weaknesses:\n  " + "\n  ".join(weak))
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    if len(skipped) == len(packages):
        _tell(f"NOT audited, no advisories are to be had here: of {len(packages)} packages, none")
        return False
    _tell(f"{len(packages) - len(skipped)} packages audited, no known weakness")
    if skipped:
        _tell(f"NOT audited, the advisories do not know them: {', '.join(skipped)}")
    return not skipped


def _write_sums(out: Path) -> None:
    lines = [
        f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(out.iterdir())
    ]
    (out / "SHA256SUMS").write_text("".join(lines), "utf-8")


# --- running --------------------------------------------------------------------------------------


def _run(
    *command: str,
    at: Path = ROOT,
    more: Mapping[str, str] | None = None,
    only: Mapping[str, str] | None = None,
) -> str:
    """What a command prints.

    Raises:
        ReleaseError: it failed; with what it had to say.
    """
    environment = only if only is not None else {**os.environ, **(more or {})}
    done = subprocess.run(  # noqa: S603 - commands of this file
        command, cwd=at, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        told = (done.stdout + done.stderr).strip()
        raise ReleaseError(f"{' '.join(command)} ended with {done.returncode}:\n{told}")
    return done.stdout


def _said(*command: str) -> str:
    return _run(*command).strip()


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
