"""Store: tables, migrations, named queries.

Knows SQL and the rooms' records; returns records, never rows. Decides nothing that a room can decide.
"""
