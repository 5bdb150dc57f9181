"""Serve: deployments kept running and reachable.

Knows deployments, replicas, routes, and the records that control exchanges with agents (``sync``) and gateways
(``snapshot``). Decides which replicas to start, stop, restart or wait for. Must not know sockets, SQL or processes.
"""
