"""A transparency log as C2SP specifies it: notes, checkpoints, tiles, proofs, witnesses.

Pure but for `witness`, and free of the gateway: what an owner or the supervisor runs to check the
gateway needs nothing of it. Specifications: https://c2sp.org, named in each module.
"""
