"""The audit log: who did what, when, from where, and how it ended.

A change is written in one transaction with its entry (`log.append`); what changed nothing is noted
afterwards, in batches (`recorder`). Neither waits for the chain: one sealer links entries in the
order in which they became visible, without gaps (`chain`, `log.seal`). The chain's head is kept
outside of the database (`anchor`), so that a database that lost its newest part is noticed
(`keeper`) and pays nothing. `verify` proves the whole, without a gateway.
"""
