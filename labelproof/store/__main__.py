"""``python -m labelproof.store > docs/schema.md`` writes the schema's documentation."""

from __future__ import annotations

import sys

from labelproof.store.schema import markdown

sys.stdout.write(markdown())
