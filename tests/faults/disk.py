"""A disk that can become full at any moment, where the machine allows one to be mounted."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from shutil import disk_usage
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_ROOMY: Final = 1 << 30
"""Bytes; only what is written takes memory."""
_PAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system in memory, as large as it is told to be.

    Attributes:
        folder: where it is mounted; an ordinary folder where mounting is not allowed.
        mounted: whether it can become full.
    """

    folder: Path
    mounted: bool

    @classmethod
    def mount(cls, folder: Path) -> Disk:
        """A new disk with room, or an ordinary folder."""
        folder.mkdir(parents=True)
        done = _run("mount", "-t", "tmpfs", "-o", f"size={_ROOMY}", "tmpfs", str(folder))
        # A size of nothing would mean no limit, so that something always has to be there.
        (folder / ".taken").write_bytes(bytes(_PAGE))
        return cls(folder, mounted=done)

    def leave(self, spare_bytes: int) -> None:
        """From here on it has room for so many bytes and no more, to the page."""
        used = disk_usage(self.folder).used
        assert self._resize(used + max(spare_bytes, 0) // _PAGE * _PAGE)

    def free(self) -> None:
        """It has room again."""
        if self.mounted:
            assert self._resize(_ROOMY)

    def unmount(self) -> None:
        """Everything on it is gone."""
        if self.mounted:
            assert _run("umount", "--lazy", str(self.folder))

    def _resize(self, size_bytes: int) -> bool:
        return _run("mount", "-o", f"remount,size={size_bytes}", str(self.folder))


def _run(*command: str) -> bool:
    try:
        done = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - our own arguments
    except FileNotFoundError:
        return False
    return done.returncode == 0
