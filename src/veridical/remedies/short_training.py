"""How networks of a remedy learn from few rows: a number of steps, early stopping, no decay, on the CPU."""

from __future__ import annotations

from math import ceil

from veridical.remedies.fmcpe_settings import FMCPESettings
from veridical.remedies.frisbi_settings import FRISBISettings
from veridical.training.settings import TrainingSettings


def short_training(settings: FMCPESettings | FRISBISettings, rows: int) -> TrainingSettings:
    """Returns how so many rows are learned from in the steps that a remedy is given."""
    batch = min(settings.batch_size, rows)
    return TrainingSettings(
        epochs=ceil(settings.steps / (rows // batch)),
        max_steps=settings.steps,
        batch_size=batch,
        learning_rate=settings.learning_rate,
        weight_decay=0.0,
        rounds=min(settings.looks, settings.steps),
        patience=settings.looks,
        threads=settings.threads,
        accelerator="cpu",
    )
