"""Cases: what the night leaves, aged, given to people, and closed by what two of them decide.

A person proposes (`propose`), another one approves (`approve`), and both can be taken back
(`undo`). What may be proposed is decided by pure functions (`even`, `strong`, `ageing`); every
change happens behind the fund's lock, is checked there again, and leaves an event in the history.
"""
