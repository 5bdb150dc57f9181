"""Installs inference engines into the data directory: ``python -m yunhe.installer``.

Knows: the drivers' install plans and the layout of the data directory. Decides: nothing; it carries plans out, step by
step, and writes an engine's manifest only when all of it is there and its smoke test passed. Must not know: control,
the database, the API.
"""
