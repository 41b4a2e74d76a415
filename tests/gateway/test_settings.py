"""What the settings of a gateway make of what they are told."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.settings import Settings


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("", ""),
        ("9464", "127.0.0.1:9464"),
        ("10.0.0.5:9464", "10.0.0.5:9464"),
        ("[::1]:9464", "[::1]:9464"),
    ],
)
def test_a_port_for_monitors_is_one_of_this_machine_unless_an_address_is_named(
    told: str, address: str
) -> None:
    assert Settings(metrics_listen=told).metrics_listen == address


@pytest.mark.parametrize("told", ["here", "host:", "host:port", ":9464", "http://host:1", "1 2"])
def test_what_is_no_address_is_refused(told: str) -> None:
    with pytest.raises(ValidationError):
        Settings(metrics_listen=told)
