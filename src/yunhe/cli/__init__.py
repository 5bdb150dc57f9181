"""CLI: one module per noun, loaded when it is called; talks through the SDK.

Data goes to stdout, everything else to stderr. Nothing heavy is imported before a command runs: the SDK, rich and the
configuration are reached through ``connect`` and ``output``, which import them where they use them, so that ``--help``
answers at once.
"""
