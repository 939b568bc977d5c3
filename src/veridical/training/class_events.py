"""Batches of events of many classes, as many of each, for members that see events of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from veridical.tasks.base import Array
from veridical.training.batches import Batch
from veridical.training.events import CHUNK, Events, MemberEvents
from veridical.training.session import Session
from veridical.training.settings import RatioTrainingSettings


class ClassEvents(Events):
    """A source of batches with the same number of events of each of C classes; see `batches.Source`.

    Arguments:
        events: Inputs of each class, float32, shape (N_c, d).
        chosen: Which of them each member sees.
        settings: How to train; a batch has events of all classes.
        run: Seeds.
        device: `cpu` or `cuda`.
    """

    def __init__(
        self,
        events: Sequence[Array],
        chosen: MemberEvents,
        settings: RatioTrainingSettings,
        run: Session,
        device: str,
    ) -> None:
        each = max(1, settings.batch_size // len(events))
        as_two = settings.model_copy(update={"batch_size": 2 * each})
        super().__init__(tuple(events), chosen, as_two, run, device)  # type: ignore[arg-type]

    def looks(self) -> Iterator[tuple[float, Batch]]:
        """Yields validation events (B, d) with number of their class, counts (M, B) and their sum (M,)."""
        for cls, (x, counts) in enumerate(zip(self.validation, self.counts, strict=True)):
            for events, counted in zip(x.split(CHUNK), counts.split(CHUNK, dim=1), strict=True):
                yield 1.0, (events, x.new_tensor(cls), counted, counts.sum(dim=1))
