"""How a bank's file is refused."""

from __future__ import annotations

from gateway.domain.errors import GatewayError, Kind, Reason


def refuse(reason: Reason, message: str) -> GatewayError:
    """A refusal that lies in the file, which goes to quarantine with this sentence."""
    return GatewayError(Kind.PRECONDITION, reason, message, {"detail": message})
