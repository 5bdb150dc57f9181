"""SDK: a typed Python client of the public API. Depends on no room, only on httpx and pydantic."""
