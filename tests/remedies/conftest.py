"""A small trained posterior."""

from __future__ import annotations

import numpy as np
import pytest

from tests.remedies.shifted_task import SHIFTED, rows
from veridical.estimators.base import Material
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.training import session


@pytest.fixture(scope="session")
def npe() -> NPE:
    """A posterior that is trained well enough for closed forms with wide tolerances."""
    rng = np.random.Generator(np.random.PCG64(5))
    spec = {
        "training": {"epochs": 4, "batch_size": 128},
        "summary": {"hidden": [32], "features": 4},
        "flow": {"transforms": 1, "hidden": [16]},
    }
    return NPE.fit(
        NPESettings(**spec), SHIFTED, Material(rows(8000, False, rng)), session.Session(11, ("npe", 0))
    )[0]
