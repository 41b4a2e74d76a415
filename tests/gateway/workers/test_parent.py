"""What the parent of several processes decides before it starts them."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.payments.leases import Seat
from gateway.settings import Settings
from gateway.workers import WorkersError, port_for, settings_of, supervise

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def directory() -> Iterator[Path]:
    """A path of its own, because a socket's path may have no more than 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="xinyi-") as made:
        yield Path(made)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("", ["", ""]),
        ("0", ["127.0.0.1:0", "127.0.0.1:0"]),
        ("9464", ["127.0.0.1:9464", "127.0.0.1:9465"]),
        ("[::1]:9464", ["[::1]:9464", "[::1]:9465"]),
    ],
)
def test_each_process_has_a_port_of_its_own_for_monitors(told: str, found: list[str]) -> None:
    settings = Settings(listen="0.0.0.0:0", metrics_listen=told)
    seats = [settings_of(settings, Seat(number, 2), 50443) for number in range(2)]
    assert [each.metrics_listen for each in seats] == found
    assert {each.listen for each in seats} == {"0.0.0.0:50443"}


def test_a_port_that_somebody_else_serves_is_refused(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        settings = Settings(listen=address, workers=2, data_dir=directory)
        with pytest.raises(OSError, match="in use"), port_for(settings):
            pass


def test_a_port_is_kept_from_a_second_gateway_and_not_from_the_processes(directory: Path) -> None:
    settings = Settings(listen="127.0.0.1:0", workers=2, data_dir=directory)
    with port_for(settings) as port:
        second = settings.model_copy(update={"listen": f"127.0.0.1:{port}"})
        with pytest.raises(OSError, match="in use"), port_for(second):
            pass
        with socket.create_server(("127.0.0.1", port), reuse_port=True):
            pass


def test_a_path_too_long_for_a_socket_is_refused_before_anything_starts(directory: Path) -> None:
    settings = Settings(workers=2, data_dir=directory / ("long" * 30))
    with pytest.raises(WorkersError, match="107 bytes"), port_for(settings):
        pass


def _refuse(_: Seat) -> None:
    raise SystemExit(3)


def test_a_process_that_cannot_even_start_ends_all_with_its_status() -> None:
    assert supervise(_refuse, 2) == 3
