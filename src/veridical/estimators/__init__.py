"""Amortised estimators: trained networks with their transforms."""

from __future__ import annotations

from veridical.estimators.base import Conditioned, Estimator, Material, Rows, TaskInfo
from veridical.estimators.summary_cloud import SummaryCloud

__all__ = [
    "ESTIMATORS",
    "Conditioned",
    "Estimator",
    "Material",
    "Rows",
    "SummaryCloud",
    "TaskInfo",
]

ESTIMATORS = {  # the settings of each, which name its class
    "npe": "veridical.estimators.npe_settings:NPESettings",
    "ensemble": "veridical.estimators.ensemble_settings:EnsembleSettings",
    "regularised": "veridical.estimators.regularised_settings:RegularisedSettings",
    "ml_npe": "veridical.estimators.multilevel_settings:MultilevelSettings",
    "pooled_npe": "veridical.estimators.pooled_settings:PooledSettings",
    "distilled_npe": "veridical.estimators.distilled_settings:DistilledSettings",
    "j_npe": "veridical.estimators.joint_settings:JNPESettings",
    "mlp": "veridical.estimators.regression_settings:MLPSettings",
    "ridge": "veridical.estimators.ridge_settings:RidgeSettings",
    "prior": "veridical.estimators.prior_settings:PriorSettings",
    "nre": "veridical.estimators.nre_settings:NRESettings",
    "nre_ensemble": "veridical.estimators.nre_ensemble_settings:NREEnsembleSettings",
    "nle": "veridical.estimators.nle_settings:NLESettings",
    "ml_nle": "veridical.estimators.multilevel_likelihood_settings:MultilevelNLESettings",
    "score": "veridical.estimators.score_settings:ScoreSettings",
    "tsnpe": "veridical.estimators.tsnpe_settings:TSNPESettings",
    "ratios": "veridical.estimators.ratio_settings:RatiosSettings",
    "template_ratios": "veridical.estimators.template_ratio_settings:TemplateRatiosSettings",
    "topics": "veridical.estimators.topics_settings:TopicsSettings",
}
