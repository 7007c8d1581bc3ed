"""Operations of torch by how they carry channels on; one that is in no table has no rule."""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten

COPIES = {aten._to_copy, aten.clone, aten.lift_fresh, aten.detach, aten.alias, aten.contiguous}
VIEWS = {
    aten.view, aten._unsafe_view, aten.reshape, aten.squeeze, aten.unsqueeze, aten.flatten, aten.unflatten,
    aten._reshape_alias,
}  # fmt: skip
PERMUTATIONS = {aten.permute, aten.transpose, aten.t, aten.movedim, aten.swapaxes}
# With an argument ``dim``, and nothing happens along others.
ALONG = {
    aten.slice, aten.select, aten.split, aten.split_with_sizes, aten.unsafe_split, aten.unsafe_split_with_sizes,
    aten.unsafe_chunk, aten.chunk, aten.unbind, aten.index_select, aten.narrow,
}  # fmt: skip
# Operations that only move elements: (tensor, …) → tensors with the same elements elsewhere.
MOVES = {
    *COPIES, *VIEWS, *PERMUTATIONS, *ALONG, aten.expand, aten.flip, aten.roll, aten.constant_pad_nd, aten.repeat,
    aten.unfold, aten.pixel_shuffle, aten.pixel_unshuffle, aten.channel_shuffle, aten.native_channel_shuffle,
    aten.diagonal, aten.rot90, aten.reflection_pad1d, aten.reflection_pad2d, aten.replication_pad1d,
    aten.replication_pad2d, aten.im2col,
}  # fmt: skip
PRODUCTS = {
    aten.mm, aten.bmm, aten.addmm, aten.baddbmm, aten.convolution, aten._convolution, aten.mv, aten.dot,
    aten._trilinear,
}  # fmt: skip
JOINED = {aten.cat, aten.stack}
# Along their last dimensions only: dimensions that a plane must not vary along.
LOCAL = {
    aten.max_pool2d_with_indices: 2, aten.max_pool3d_with_indices: 3, aten.avg_pool1d: 1, aten.avg_pool2d: 2,
    aten.avg_pool3d: 3, aten._adaptive_avg_pool2d: 2, aten._adaptive_avg_pool3d: 3, aten.adaptive_max_pool2d: 2,
    aten.adaptive_avg_pool1d: 1, aten.upsample_nearest1d: 1, aten.upsample_nearest2d: 2, aten.upsample_bilinear2d: 2,
    aten._upsample_nearest_exact2d: 2, aten.upsample_bicubic2d: 2, aten.upsample_nearest3d: 3,
    aten.upsample_linear1d: 1, aten.upsample_trilinear3d: 3, aten._upsample_bilinear2d_aa: 2,
    aten._upsample_bicubic2d_aa: 2, aten.grid_sampler_2d: 2,
}  # fmt: skip
AVERAGES = {aten.avg_pool2d, aten.avg_pool3d}
# One number of many: over channels it is what those that are left give.
REDUCTIONS = {
    aten.mean, aten.sum, aten.amax, aten.amin, aten.var, aten.std, aten.var_mean, aten.linalg_vector_norm, aten.norm,
    aten.max, aten.min,
}  # fmt: skip
SHAPE_KEEPING = {aten._softmax, aten._log_softmax, aten.cumsum, aten._safe_softmax}
BATCH_NORMS = {aten.native_batch_norm, aten._native_batch_norm_legit_no_training, aten.cudnn_batch_norm,
               aten.batch_norm}  # fmt: skip
TRANSFORMS = {aten._fft_r2c, aten._fft_c2r, aten._fft_c2c}
LAYER_NORMS = {aten.native_layer_norm, aten._fused_rms_norm}
# Element by element, though torch doesn't tag them so.
POINTWISE = {
    aten.hardswish, aten.hardsigmoid, aten.hardtanh, aten.silu, aten.mish, aten.gelu, aten.elu, aten.leaky_relu,
    aten.relu6, aten.celu, aten.softplus, aten.dropout, aten.native_dropout, aten.masked_fill, aten.where, aten.lerp,
    aten._prelu_kernel, aten.zero, aten.fill,
}  # fmt: skip
# Of other libraries: each channel of [n, c, …] by itself.
BY_CHANNEL = {"torchvision.roi_align", "torchvision.roi_pool"}
LIKE = {aten.zeros_like, aten.ones_like, aten.full_like, aten.empty_like, aten.rand_like, aten.randn_like}
FACTORIES = {
    aten.zeros, aten.ones, aten.full, aten.empty, aten.arange, aten.rand, aten.randn, aten.scalar_tensor,
    aten.new_zeros, aten.new_ones, aten.new_full, aten.new_empty, aten.empty_strided, aten.new_empty_strided, aten.eye,
    aten.linspace,
}  # fmt: skip


def is_pointwise(packet: Any) -> bool:
    """Whether an operation works element by element."""
    return packet in POINTWISE or any(
        torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads()
    )


def given(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The operation's arguments by name, with what is left out at its default."""
    schema = func._schema.arguments
    found = {a.name: a.default_value for a in schema if a.has_default_value()}
    return {**found, **dict(zip((a.name for a in schema), args, strict=False)), **kwargs}
