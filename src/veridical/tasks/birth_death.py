r"""Transition probabilities of birth-death chains on 0, ..., n and their slopes, many chains at a time.

.. math:: P = e^{Q g} = \big( e^{- q h} e^{q h M} \big)^{2^s} , \qquad M = I + Q / q \geq 0 ,
    \quad q = \max_i (b_i + d_i) , \quad h = 2^{-s} g ,

with births :math:`b_i`, deaths :math:`d_i` and the tridiagonal generator Q: a Taylor series of the inner
exponential, squared s times. No number is ever subtracted, so that each probability, however small, is right
to some 1e-12 of itself. A Padé approximation does not promise that, and an eigendecomposition does not reach
it where they are small; logarithms of likelihoods far from the truth need it. Slopes follow by the product
rule, :math:`(E^2)' = E' E + E E'`.

References:
    | Computing exponentials of essentially non-negative matrices entrywise to high relative accuracy
    | (Xue, Ye, 2013) https://doi.org/10.1090/S0025-5718-2013-02677-4
"""

from __future__ import annotations

import numpy as np

from veridical.tasks.base import Array

_LARGEST = 1 / 16  # of q h
_DEGREE = 8  # of the Taylor series: what is left of it is below 1e-16
_SQUARINGS = 10  # at least, for otherwise no series of this degree reaches distant states


def generators(births: Array, deaths: Array) -> Array:
    """Returns Q (..., n + 1, n + 1) of births and deaths (..., n + 1); linear in both, so that slopes of the
    rates give slopes of Q.

    >>> generators(np.array([2.0, 0.0]), np.array([0.0, 3.0]))
    array([[-2.,  2.],
           [ 3., -3.]])
    """
    n = births.shape[-1]
    found = np.zeros((*births.shape, n))
    states = np.arange(n)
    found[..., states, states] = -births - deaths
    found[..., states[:-1], states[1:]] = births[..., :-1]
    found[..., states[1:], states[:-1]] = deaths[..., 1:]
    return found


def transitions(q: Array, gap: float, slopes: Array | None = None) -> tuple[Array, Array]:
    """Returns transition probabilities over a gap of time, and their slopes.

    Arguments:
        q: Generators, shape (N, m, m): no birth in the last state, no death in the first.
        gap: The time that passes.
        slopes: Derivatives of the generators in K parameters, shape (N, K, m, m); none where None.

    Returns:
        Probabilities (N, m, m), each row of them a distribution, and derivatives (N, K, m, m).
    """
    slopes = np.zeros((len(q), 0, *q.shape[1:])) if slopes is None else slopes
    fastest = -gap * np.diagonal(q, axis1=1, axis2=2).min(axis=1)[:, None, None]
    squarings = max(_SQUARINGS, int(np.ceil(np.log2(fastest.max(initial=1.0) / _LARGEST))))
    step = gap / 2**squarings
    eye, rest = np.eye(q.shape[1]), fastest / 2**squarings
    inner, by = step * q + rest * eye, step * slopes
    p, dp = np.broadcast_to(eye, q.shape), np.zeros(slopes.shape)
    for k in range(_DEGREE, 0, -1):  # Horner's rule
        dp = (by @ p[:, None] + inner[:, None] @ dp) / k
        p = eye + inner @ p / k
    p, dp = np.exp(-rest) * p, np.exp(-rest)[:, None] * dp
    for _ in range(squarings):
        dp = dp @ p[:, None] + p[:, None] @ dp
        p = p @ p
    return p, dp
