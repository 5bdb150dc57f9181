"""Broker: demand to placement.

Knows what is asked for and what cards are free. Decides which centre, node and cards take it, and says why not. For
now the simplest fitting placement; promises, fair share and preemption come later. Must not know users' names,
sockets or SQL.
"""
