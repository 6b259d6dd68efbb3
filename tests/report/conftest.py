"""Fixtures of the report's tests; the fakes are in `report_fakes`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from report_fakes import FakeMeasureReport, Shifter, squares

from unsnarl.data import FactorDataset


@pytest.fixture
def data() -> FactorDataset:
    return squares()


@pytest.fixture
def model() -> Shifter:
    return Shifter()


@pytest.fixture
def measured() -> FakeMeasureReport:
    return FakeMeasureReport()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "report.html"
