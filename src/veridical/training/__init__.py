"""Training of networks: one loop for all of them, which goes on after any interruption.

What may be done to x in every batch, what may be added to the loss of a posterior, and what weighs scores in
that of a ratio, is found by its `type`, with settings in `distortion_settings.py`, `regulariser_settings.py`
and `score_weight_settings.py`.
"""

DISTORTIONS = {
    "spike_and_slab": "veridical.training.spike_and_slab:SpikeAndSlab",
    "local_distortions": "veridical.training.local_distortions:LocalDistortions",
}

REGULARISERS = {
    "self_consistency": "veridical.training.self_consistency:SelfConsistency",
    "mmd": "veridical.training.summary_mmd:SummaryMMD",
    "domain_adversarial": "veridical.training.domain_adversarial:DomainAdversarial",
    "normal_summaries": "veridical.training.summary_mmd:NormalSummaries",
}

SCORE_WEIGHTS = {
    "last_layer": "veridical.training.last_layer:LastLayer",
    "gradnorm": "veridical.training.gradnorm:GradNorm",
    "kendall": "veridical.training.kendall:Kendall",
    "fixed": "veridical.training.score_weights:Fixed",
}
