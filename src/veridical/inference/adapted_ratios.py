r"""What the error of fitted log ratios adds to the error of a template-adapted mixture; numpy, float64.

The log ratio of template k to the reference is a weighted sum of frozen functions,
:math:`g_k = \sum_i \omega_{ki} f_{ki}`, fitted to events of the template and of the reference. All templates
share the latter, so that their weights are correlated. With a f and b f the terms of the gradient of each
loss and V its Hessian (see `veridical.inference.ratio_weights`),

.. math:: C_{kl} = V_k^{-1} \left[ \delta_{kl} \frac{\mathrm{Cov}_k[a f_k]}{N_k}
    + \frac{\mathrm{Cov}_\mathrm{ref}[b f_k, b f_l]}{N_r} \right] V_l^{-1} .

To first order the minimum of L follows the weights by :math:`-A^{-1} Q`, with the mixed derivative

.. math:: Q_{k} = \frac{\partial^2 L}{\partial\theta \, \partial\omega_k}
    = \sum_x \frac{\partial^2 L}{\partial\theta \, \partial g_k(x)} f_k(x)^T ,

over all events of the three samples. Neither part falls with the number of data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from veridical.errors import require_shape
from veridical.inference import ratio_weights
from veridical.inference.adapted import CONSTRAINT, Densities, Objective, Shapes
from veridical.inference.ratio_weights import Events
from veridical.tasks.base import Array


def joint_covariance(
    weights: Sequence[Array], own: Sequence[Events], pool: Sequence[Events], kind: str = "bce"
) -> Array:
    """Returns C, the covariance of the weights of all K templates in their order, shape (W, W).

    Arguments:
        weights: Of each template, at the minimum of its loss, shape (P_k,) each.
        own: Functions at events of each template's simulator, other ones for each.
        pool: Each template's functions at the same events of the reference.
        kind: Loss, `bce` or `mlc`.
    """
    inverses, terms = [], []
    for w, numerator, denominator in zip(weights, own, pool, strict=True):
        require_shape("functions at the reference", denominator.functions, len(pool[0].counts), len(w))
        inverses.append(linalg.inv(ratio_weights.derivatives(w, numerator, denominator, kind)[1]))
        terms.append(ratio_weights.influence(w, numerator, denominator, kind))
    shared = np.concatenate([of_pool for _, of_pool in terms], axis=1)
    scatter = pool[0].covariance(shared) / pool[0].total
    alone = [events.covariance(of_own) / events.total for events, (of_own, _) in zip(own, terms, strict=True)]
    inverse = linalg.block_diag(*inverses)
    return inverse @ (scatter + linalg.block_diag(*alone)) @ inverse


def mixed(objective: Objective, theta: Array, functions: Sequence[tuple[Array, Array, Array]]) -> Array:
    """Returns Q at the minimum, for the weights of all templates in their order, shape (P, W).

    Arguments:
        objective: The objective, with templates of the signal first.
        theta: Its minimum, shape (P,).
        functions: Of each template, its functions at the events of data, reference and penalty sample,
            shapes (N, P_k) each.
    """
    signal, background = objective.weights(theta)
    blocks, slope = [], objective.shapes[2].gap(objective.shapes[2].at(theta))[1]
    at = [shapes.at(theta) for shapes in objective.shapes]
    for k, tables in enumerate(functions):
        side, index = (0, k) if k < len(signal) else (1, k - len(signal))
        weight = float((signal, background)[side][index])
        total = np.zeros((objective.size, tables[0].shape[1]))
        for sample, (shapes, here, table) in enumerate(zip(objective.shapes, at, tables, strict=True)):
            require_shape(f"functions of template {k}", table, len(shapes.counts), total.shape[1])
            moved = _moved(objective, shapes, here, sample, (side, index, weight), slope)
            total += moved.T @ (table * shapes.counts[:, None])
        blocks.append(total)
    return np.concatenate(blocks, axis=1)


def _moved(
    objective: Objective,
    shapes: Shapes,
    at: Densities,
    sample: int,
    template: tuple[int, int, float],
    slope: Array,
) -> Array:
    """Derivative of an event's part of the gradient of L in one log ratio at the event, shape (N, P)."""
    side, _, weight = template
    u, share = ((at.signal, at.kappa), (at.background, 1 - at.kappa))[side]
    if sample == 2:
        lever = CONSTRAINT * objective.data.total / shapes.number * (1 if side else -1)
        return np.outer(slope, lever * weight * u).T  # column by column
    bend = _bend(shapes, at, template)
    if sample == 1:
        return objective.scale * bend
    inside = shapes.gradients(at) * (share * weight * u / at.total)[:, None]
    moved: Array = (inside - bend) / at.total[:, None]
    return moved


def _bend(shapes: Shapes, at: Densities, template: tuple[int, int, float]) -> Array:
    """Derivative of the gradient of rho in one log ratio at the same event, shape (N, P)."""
    side, index, weight = template
    u, share, sign = ((at.signal, at.kappa, 1), (at.background, 1 - at.kappa, -1))[side]
    part, design = shapes.slices[side], shapes.designs[side]
    out = np.zeros((len(u), shapes.size), order="F")
    out[:, 0] = sign * weight * u
    out[:, part] = (share * weight * u)[:, None] * design
    last = design.shape[1] - 1
    if index < last:
        out[:, part.start + 1 + index] += share * u
    else:
        out[:, part.start + 1 : part.stop] -= (share * u)[:, None]
    return out
