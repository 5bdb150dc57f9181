"""API: the HTTP routes of /api/v1, one module per noun, no logic.

Parses at the border with pydantic, asks control's services, and answers in one error shape.
"""
