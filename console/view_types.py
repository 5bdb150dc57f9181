"""Writes the view of an adaptation as an OpenAPI document, of which openapi-typescript makes the console's types.

The route's own schema calls it a free object: the view is msgspec's, not pydantic's.
"""

import json

import msgspec

from yunhe.adapt.report_records import AdaptationView

_, found = msgspec.json.schema_components([AdaptationView], ref_template="#/components/schemas/{name}")
for one in found.values():
    # What has a default is written all the same.
    one["required"] = list(one.get("properties", {}))
info = {"title": "View of an adaptation", "version": "1"}
print(json.dumps({"openapi": "3.1.0", "info": info, "paths": {}, "components": {"schemas": found}}))
