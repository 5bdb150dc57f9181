"""Path and query parameters that several nouns share."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Query

_REFERENCE: Final = r"^[^\x00-\x20/\\?#%]+$"
#: Ids, and prefixes of keys.
_ID: Final = r"^[A-Za-z0-9_-]+$"

ProjectPath = Annotated[str, Path(max_length=128, pattern=_REFERENCE, description="Id or name.")]
UserPath = Annotated[str, Path(max_length=128, pattern=_REFERENCE, description="Id or name.")]
DeploymentPath = Annotated[str, Path(max_length=128, pattern=_REFERENCE, description="Id or name.")]
KeyPath = Annotated[str, Path(max_length=64, pattern=_ID, description="Id or prefix.")]
IdPath = Annotated[str, Path(max_length=64, pattern=_ID)]
ModelPath = Annotated[
    str, Path(max_length=128, pattern=r"^[a-z0-9][a-z0-9._/-]*$", description="Name; may hold slashes.")
]

ProjectQuery = Annotated[
    str | None,
    Query(
        max_length=128,
        pattern=_REFERENCE,
        description="Id or name; default: the key's project, else the caller's only or first project.",
    ),
]
DeploymentQuery = Annotated[str | None, Query(max_length=128, pattern=_REFERENCE, description="Id or name.")]
SubjectQuery = Annotated[
    str | None, Query(max_length=128, pattern=_REFERENCE, description="Id of what the events are about.")
]
CentreQuery = Annotated[str | None, Query(max_length=128, pattern=_REFERENCE, description="Id or name.")]
RecipePath = Annotated[
    str, Path(max_length=68, pattern=r"^rcp_[0-9a-f]{8,64}$", description="Content id, or its beginning.")
]
RecipeKeyPath = Annotated[
    str, Path(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$", description="Id of a public key.")
]
ChipQuery = Annotated[str | None, Query(max_length=128, pattern=_REFERENCE, description="Chip id.")]
EngineQuery = Annotated[str | None, Query(max_length=64, pattern=_REFERENCE, description="Engine name.")]
ModelQuery = Annotated[str | None, Query(max_length=128, pattern=r"^[a-z0-9][a-z0-9._/-]*$", description="Model name.")]
