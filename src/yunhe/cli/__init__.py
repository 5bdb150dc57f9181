"""CLI: one module per noun, loaded when it is called; talks through the SDK."""
