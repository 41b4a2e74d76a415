"""The double-entry ledger of each fund.

Three kinds of account: BANK, one for each bank account, moved only by entries of the bank's
statements; BOOK, one for each book and category, moved only by disclosed lines; TRANSIT between
them. At every instant BANK + TRANSIT = the two books = the disclosed lines, and TRANSIT is the list
of lines that the bank has not confirmed and of bank entries that no line explains.
"""
