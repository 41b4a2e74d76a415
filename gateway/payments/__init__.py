"""Payments: asked for and held, signed twice, released to the outbox, decided by the bank."""
