"""Ledger: what was used, what it costs, who owes whom.

Knows prices, usage records, leases of credit, entries and postings. Decides the cost of a usage record, the balanced
postings for it, and whether a lease may be granted. Must not know models' weights, cards, HTTP or SQL.
"""
