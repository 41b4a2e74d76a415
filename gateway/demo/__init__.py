"""The demo: one whole working day through every real part of the gateway."""

from gateway.demo.play import run

__all__ = ["run"]
