r"""Attention of queries to elements, and what is built of it.

Each head weighs the elements by :math:`\mathrm{softmax}_l(q \cdot k_l / \sqrt{d})`. An element that is not
there gets the weight 0, exactly, and so no gradient. The blocks normalise what they read, not what they pass
on, which leaves the sums intact and trains at high rates.

References:
    | Attention Is All You Need (Vaswani et al., 2017)
    | https://arxiv.org/abs/1706.03762
    | On Layer Normalization in the Transformer Architecture (Xiong et al., 2020)
    | https://arxiv.org/abs/2002.04745
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from veridical.errors import ShapeError
from veridical.networks.layers import dense


class Attention(nn.Module):
    """A block: queries take up what they ask of elements, then a dense network; both are added.

    Arguments:
        width: Numbers W of a query and of an element.
        heads: Number of heads, which share the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ShapeError(f"attention: expected a width that {heads} heads share, got {width}.")
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.answer = nn.Linear(width, width), nn.Linear(width, width)
        self.pair = nn.Linear(width, 2 * width, bias=False)  # keys and values
        self.layers = dense([width, 2 * width, width])

    def forward(self, queries: Tensor, elements: Tensor, there: Tensor | None = None) -> Tensor:
        """Returns queries (B, Q, W) after a look at elements (B, L, W), of which `there` (B, L) are there."""
        normal = self.before(elements)
        asked = normal if queries is elements else self.before(queries)
        queries = queries + self.answer(self._weighed(self.query(asked), self.pair(normal), there))
        return queries + self.layers(self.after(queries))

    def _weighed(self, query: Tensor, pair: Tensor, there: Tensor | None) -> Tensor:
        """Means of values (B, Q, W), one head beside the other."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for part in (query, *pair.chunk(2, -1))
        )
        score = (q / q.shape[-1] ** 0.5) @ k.transpose(-2, -1)
        if there is not None:
            score = torch.where(there[:, None, None] > 0, score, torch.finfo(score.dtype).min)
        return (score.softmax(-1) @ v).transpose(-3, -2).flatten(-2)


class Induced(nn.Module):
    """Attention of elements to one another by way of a few learned points, so that the cost grows with L.

    Arguments:
        points: Number of points.
        width: Numbers W of an element.
        heads: Number of heads.
    """

    def __init__(self, points: int, width: int, heads: int) -> None:
        super().__init__()
        self.gather, self.spread = Pooling(points, width, heads), Attention(width, heads)

    def forward(self, elements: Tensor, there: Tensor | None = None) -> Tensor:
        """Returns elements (B, L, W)."""
        return self.spread(elements, self.gather(elements, there))


class Pooling(nn.Module):
    """Attention of a few learned queries, the seeds, to elements.

    Arguments:
        seeds: Number of queries Q.
        width: Numbers W of an element.
        heads: Number of heads.
    """

    def __init__(self, seeds: int, width: int, heads: int) -> None:
        super().__init__()
        self.seeds = nn.Parameter(torch.randn(seeds, width) / width**0.5)
        self.attention = Attention(width, heads)

    def forward(self, elements: Tensor, there: Tensor | None = None) -> Tensor:
        """Returns what they found (B, Q, W) in elements (B, L, W)."""
        return self.attention(self.seeds.expand(len(elements), -1, -1), elements, there)
