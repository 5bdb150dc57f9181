"""Agent: one per centre; makes what runs meet what is desired.

Knows the sync protocol, the drivers it loaded by entry point, and the replicas it supervises. Connects outbound only.
Must not know the database, other centres or who asked.
"""
