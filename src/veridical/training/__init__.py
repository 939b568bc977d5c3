"""Training of networks: one loop for all of them, which goes on after any interruption.

What may be done to x in every batch is found by its `type`, with settings in `distortion_settings.py`.
"""

DISTORTIONS = {
    "spike_and_slab": "veridical.training.spike_and_slab:SpikeAndSlab",
    "local_distortions": "veridical.training.local_distortions:LocalDistortions",
}
