"""Pseudo-experiments for topics: do intervals of the posterior hold the truth as often as they say?

Topics stay as they are. Each experiment draws a sample of nature's unlabelled events for each true fraction;
their random numbers depend on the experiment alone and not on the method, so that methods are compared on the
same events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from veridical.estimators.classes import Generators, true_fractions
from veridical.inference.topic_mixtures import P_VALUE, Chaining, TopicMixture
from veridical.tasks.base import Array, ClassTask


def experiments(
    mixture: TopicMixture,
    counts: Callable[[Array], Array],
    chaining: Chaining,
    task: ClassTask,
    settings: Mapping[str, Any],
    generators: Generators,
) -> dict[str, Array]:
    """Returns what E pseudo-experiments found at V true fractions; NaN where chains do not agree.

    `truth` (V,): true fractions. `value`, `statistical`, `ratio` (E, V): mean and standard deviation of the
    posterior, and zero. `z_lr` (E, V): normal score of the probability of fractions above the truth, which is
    in a central interval where its size is no larger than that of the interval. `alarm` (E, V): 1 where the
    data in bins do not follow a mixture of topics.

    Arguments:
        mixture: The topics.
        counts: Counts events (N, *x_shape) in bins (J,).
        chaining: How chains are run.
        task: Draws the events.
        settings: `rows` (E, the number of experiments), `true_values` (fractions of the first class, in
            [0, 1]), `events` (unlabelled).
        generators: Gives the generator of a piece of the batch: called with ("data", e, v) and
            ("chains", e, v) for experiment e and number v of the true fraction.

    Raises:
        DataError: If a true fraction is not in [0, 1], or events lie in no bin.
    """
    truth, n = true_fractions(settings), settings["rows"]
    pairs = [(e, v) for e in range(n) for v in range(len(truth))]
    data = np.stack(
        [counts(task.mixture(settings["events"], truth[v], generators("data", e, v))) for e, v in pairs]
    )
    found = mixture.tried(data, [generators("chains", e, v) for e, v in pairs], chaining)
    agree = np.where(found.disagree(chaining), np.nan, 1.0)
    columns = {
        "value": found.kappa.mean(axis=1) * agree,
        "statistical": found.kappa.std(axis=1, ddof=1) * agree,
        "ratio": 0.0 * agree,
        "z_lr": found.z(np.tile(truth, n)) * agree,
        "alarm": np.where(mixture.fit_p(found, data) < P_VALUE, 1.0, 0.0),
    }
    return {"truth": truth} | {name: column.reshape(n, -1) for name, column in columns.items()}
