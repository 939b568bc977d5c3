"""The made-up study of the tests of the report."""

from __future__ import annotations

from tests.report.conftest import finish_study, made_up, make_study, study  # noqa: F401
