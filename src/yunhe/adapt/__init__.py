"""Adapt: fit each model to each chip, and prove it.

Knows models, chips and what was measured of a candidate. Decides what to try next, whether a candidate is faithful to
its reference, and which candidate is chosen. Must not know processes, sockets, files of a machine, SQL, or a product
by its name: trials are carried out by others and come back as evidence.
"""
