"""The matching kernel: a pure function of entries, lines, rules and a date; one module a pass."""
