"""Pool: centres, nodes and cards of every maker, seen as one.

Knows what supply there is, how healthy it is and how a centre runs a workload (the Centre and Chip Protocols). Decides
health and capacity. Must not know models, prices or users.
"""
