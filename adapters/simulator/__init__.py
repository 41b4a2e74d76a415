"""A bank for the demo, the tests and new users: it reads orders, moves money, writes statements."""

from adapters.simulator.bank import SimulatedBank
from adapters.simulator.state import Behaviour

__all__ = ["Behaviour", "SimulatedBank"]
