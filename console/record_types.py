"""Writes the view of an adaptation and the document of a recipe as OpenAPI, of which their types are generated.

The routes' own schemas call both free objects: they are msgspec's, not pydantic's.
"""

import json

import msgspec

from yunhe.adapt.recipe_document import Recipe
from yunhe.adapt.report_records import AdaptationView

_, found = msgspec.json.schema_components([AdaptationView, Recipe], ref_template="#/components/schemas/{name}")
for one in found.values():
    # What has a default is written all the same.
    one["required"] = list(one.get("properties", {}))
info = {"title": "Views and documents", "version": "1"}
print(json.dumps({"openapi": "3.1.0", "info": info, "paths": {}, "components": {"schemas": found}}))
