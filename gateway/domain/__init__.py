"""The pure core: money, payment states, signatures, mandates.

No I/O, no clock, nothing of ours imported.
"""
