"""The made-up study of the tests of the report."""

from __future__ import annotations

from tests.report.conftest import study  # noqa: F401
