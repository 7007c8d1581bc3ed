"""``nn.MultiheadAttention`` of any size.

Torch's own takes it that heads × head width is the embedding width, which ends when either is cut. This one computes
the same from the sizes of its weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SizedAttention(nn.MultiheadAttention):
    """The same tensors, arguments and results as ``nn.MultiheadAttention``; made by changing a module's class."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        single, swapped = query.dim() == 2, query.dim() == 3 and not self.batch_first
        query, key, value = (self._batch_first(x, single, swapped) for x in (query, key, value))
        q, k, v = self._projected(query, key, value)
        mask = self._mask(q, k, key_padding_mask, attn_mask)  # is_causal is a hint: torch wants the mask as well
        k, v, mask = self._extended(k, v, mask)
        q, k, v = (x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for x in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
            weights = (scores if mask is None else scores + mask).softmax(-1)
            found = F.dropout(weights, dropout) @ v
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights[0] if single else weights
        else:
            found = F.scaled_dot_product_attention(q, k, v, mask, dropout)
        output = self.out_proj(found.transpose(1, 2).flatten(2))
        output = output[0] if single else output.transpose(0, 1) if swapped else output
        return output, weights

    @staticmethod
    def _batch_first(x: Tensor, single: bool, swapped: bool) -> Tensor:
        return x[None] if single else x.transpose(0, 1) if swapped else x

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        joint: Tensor | None = self.in_proj_weight
        apart = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        weights = apart if joint is None else joint.chunk(3)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]

    @staticmethod
    def _mask(q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Both masks as one to be added, ``[n or 1, heads or 1, queries or 1, keys]``."""
        found = None
        if mask is not None:
            found = _added(mask, q)
            found = (
                found.view(-1, found.shape[0] // len(q), *found.shape[1:]) if found.dim() == 3 else found[None, None]
            )
        if padding is not None:
            own = _added(padding, q).view(-1, 1, 1, k.shape[1])
            found = own if found is None else found + own
        return found

    def _extended(self, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """With the bias and the zeros that count as further keys and values."""
        more = 0
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(len(k), -1, -1)], 1)
            v = torch.cat([v, self.bias_v.expand(len(v), -1, -1)], 1)
            more += 1
        if self.add_zero_attn:
            k, v = (torch.cat([x, torch.zeros_like(x[:, :1])], 1) for x in (k, v))
            more += 1
        return k, v, mask if mask is None or not more else F.pad(mask, (0, more))


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask of truths, true where nothing may be seen, as one to be added."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, float("-inf"))


def fit_to_weights(attention: nn.MultiheadAttention) -> None:
    """Makes a cut attention layer one of its own size; one that torch's can still be stays."""
    width = attention.out_proj.in_features
    heads, embedding = width // attention.head_dim, attention.out_proj.out_features
    if (heads, embedding) == (attention.num_heads, attention.embed_dim) and width == embedding:
        return
    attention.__class__ = SizedAttention
    attention.num_heads, attention.embed_dim = heads, embedding
    attention._qkv_same_embed_dim = False  # nn.TransformerEncoderLayer's fused kernel is for torch's own sizes


@contextmanager
def sized_attention(model: nn.Module) -> Iterator[None]:
    """Attention layers of torch's compute by their weights' sizes for the block, with their projections as layers."""
    own = [m for m in model.modules() if type(m) is nn.MultiheadAttention]
    for module in own:
        module.__class__ = SizedAttention
    try:
        yield
    finally:
        for module in own:
            module.__class__ = nn.MultiheadAttention
