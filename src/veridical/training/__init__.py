"""Training of networks: one loop for all of them, which goes on after any interruption.

What may be done to x in every batch, and what may be added to the loss of a posterior, is found by its
`type`, with settings in `distortion_settings.py` and `regulariser_settings.py`.
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
