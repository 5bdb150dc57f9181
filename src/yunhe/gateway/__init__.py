"""Gateway: the data plane, one public door.

Knows HTTP/1.1, the pure policies of the rooms (keys, limits, leases, routing, prices) and its own snapshot, spool and
journal. Goes on serving while control is away. Must not know SQL, frameworks, control or any engine by name.
"""
