from tests.gateway.payments.conftest import bank, desk

__all__ = ["bank", "desk"]
