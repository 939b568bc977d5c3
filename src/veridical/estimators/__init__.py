"""Amortised estimators: trained networks with their transforms."""

from __future__ import annotations

from veridical.estimators.base import Conditioned, Estimator, Material, Rows, SummaryCloud, TaskInfo
from veridical.estimators.ensemble_settings import EnsembleSettings
from veridical.estimators.joint_settings import JNPESettings
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.prior_settings import PriorSettings
from veridical.estimators.ratio_settings import RatiosSettings
from veridical.estimators.regression_settings import MLPSettings
from veridical.estimators.ridge_settings import RidgeSettings
from veridical.estimators.settings import Entry

__all__ = [
    "ESTIMATORS",
    "Conditioned",
    "Estimator",
    "Material",
    "Rows",
    "SummaryCloud",
    "TaskInfo",
]

ESTIMATORS = {
    "npe": Entry(NPESettings, "veridical.estimators.npe:NPE"),
    "ensemble": Entry(EnsembleSettings, "veridical.estimators.ensemble:Ensemble"),
    "j_npe": Entry(JNPESettings, "veridical.estimators.joint:JointNPE"),
    "mlp": Entry(MLPSettings, "veridical.estimators.regression:MLPRegression"),
    "ridge": Entry(RidgeSettings, "veridical.estimators.ridge:Ridge"),
    "prior": Entry(PriorSettings, "veridical.estimators.prior:PriorEstimator"),
    "ratios": Entry(RatiosSettings, "veridical.estimators.ratios:Ratios"),
}
