"""Operations of torch by how they carry channels on; one that is in no table has no rule."""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten

# Operations that only move elements: (…, tensors, …) → tensors with the same elements elsewhere.
MOVES = {
    aten.view, aten._unsafe_view, aten.reshape, aten.permute, aten.transpose, aten.t, aten.expand, aten.slice,
    aten.select, aten.split, aten.split_with_sizes, aten.unsafe_split, aten.unsafe_split_with_sizes, aten.unsafe_chunk,
    aten.chunk, aten.unbind, aten.index_select, aten.flip, aten.roll, aten.constant_pad_nd, aten.clone, aten._to_copy,
    aten.detach, aten.alias, aten.squeeze, aten.unsqueeze, aten.repeat, aten.unfold, aten.pixel_shuffle,
    aten.pixel_unshuffle, aten.channel_shuffle, aten.native_channel_shuffle, aten.flatten, aten.unflatten,
    aten.narrow, aten.diagonal, aten.movedim, aten.swapaxes, aten.contiguous, aten.lift_fresh, aten.rot90,
    aten.reflection_pad1d, aten.reflection_pad2d, aten.replication_pad1d, aten.replication_pad2d, aten.im2col,
}  # fmt: skip
VIEWS_AS_RESHAPE = {aten.view, aten._unsafe_view}
JOINED = {aten.cat, aten.stack}
# Along their last dimensions only: dimensions that a plane must not vary along.
LOCAL = {
    aten.max_pool2d_with_indices: 2, aten.max_pool3d_with_indices: 3, aten.avg_pool1d: 1, aten.avg_pool2d: 2,
    aten.avg_pool3d: 3, aten._adaptive_avg_pool2d: 2, aten._adaptive_avg_pool3d: 3, aten.adaptive_max_pool2d: 2,
    aten.adaptive_avg_pool1d: 1, aten.upsample_nearest1d: 1, aten.upsample_nearest2d: 2, aten.upsample_bilinear2d: 2,
    aten._upsample_nearest_exact2d: 2, aten.upsample_bicubic2d: 2, aten.upsample_nearest3d: 3,
    aten.upsample_linear1d: 1, aten.upsample_trilinear3d: 3, aten._upsample_bilinear2d_aa: 2,
}  # fmt: skip
REDUCTIONS = {aten.mean, aten.sum, aten.amax, aten.amin, aten.var, aten.std, aten.linalg_vector_norm, aten.logsumexp}
SHAPE_KEEPING = {aten._softmax, aten._log_softmax, aten.cumsum}
NORMS = {aten.native_batch_norm, aten._native_batch_norm_legit_no_training, aten.cudnn_batch_norm, aten.batch_norm}
# Element by element, though torch doesn't tag them so.
POINTWISE = {
    aten.hardswish, aten.hardsigmoid, aten.hardtanh, aten.silu, aten.mish, aten.gelu, aten.elu, aten.leaky_relu,
    aten.relu6, aten.celu, aten.softplus, aten.dropout, aten.native_dropout, aten.masked_fill, aten.where, aten.lerp,
    aten._prelu_kernel,
}  # fmt: skip
FACTORIES = {
    aten.zeros, aten.ones, aten.full, aten.empty, aten.arange, aten.zeros_like, aten.ones_like, aten.full_like,
    aten.empty_like, aten.rand, aten.randn, aten.scalar_tensor, aten.new_zeros, aten.new_ones, aten.new_full,
    aten.new_empty, aten.empty_strided, aten.new_empty_strided, aten.eye, aten.linspace, aten.rand_like,
    aten.randn_like,
}  # fmt: skip


def is_pointwise(packet: Any) -> bool:
    """Whether an operation works element by element."""
    return packet in POINTWISE or any(
        torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads()
    )
