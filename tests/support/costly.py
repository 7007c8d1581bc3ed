"""Networks whose MACs don't all come from convolution and linear modules."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Stem(nn.Module):
    """Two convolutions, whose channels can be pruned; then whatever ``head`` does with ``[n, 24, 8, 8]``."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 24, 3, padding=1)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).relu()).relu())  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """``inner`` on the positions as tokens ``[n, 64, 24]``, averaged, then a classifier."""

    def __init__(self, inner: nn.Module, width: int = 24) -> None:
        super().__init__()
        self.inner, self.fc = inner, nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        found = self.inner(x.flatten(2).transpose(1, 2))
        return self.fc((found[0] if isinstance(found, tuple) else found).mean(1))  # type: ignore[no-any-return]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(24, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x, x, x)[0]  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(24, 40), nn.Linear(40, 24)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(x)))


class Weighted(nn.Module):
    """A product with a buffer; its cost grows with the channels that are left."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mix", torch.rand(5, 64))

    def forward(self, x: Tensor) -> Tensor:
        return self.mix @ x


class Free(nn.Module):
    """A functional convolution and an einsum with free parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.mix = nn.Parameter(torch.randn(12, 24, 3, 3)), nn.Parameter(torch.randn(12, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,cd->nd", F.conv2d(x, self.kernel).relu(), self.mix)


class Scales(nn.Module):
    """The same convolutions at three resolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last, self.fc = nn.Conv2d(24, 24, 3, padding=1), nn.Conv2d(24, 10, 1), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        sizes = [x, F.avg_pool2d(x, 2), F.interpolate(x, scale_factor=0.25)]
        return self.fc(torch.stack([self.last(self.conv(s).relu()).mean((2, 3)) for s in sizes]).sum(0))  # type: ignore[no-any-return]


class ChannelAttention(nn.Module):
    """A convolution along the channels (ECA, Wang et al. 2020): its positions are the channels that are left."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv1d(1, 1, 3, padding=1, bias=False), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.conv(x.mean((2, 3))[:, None])[:, 0].sigmoid()
        return self.fc((x * gate[:, :, None, None]).mean((2, 3)))  # type: ignore[no-any-return]


class ScaledConv(nn.Conv2d):
    """A convolution with a gain for each output, as in networks without norms (Brock et al. 2021)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(outputs, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.gain, self.bias, padding=1)


class Gained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = ScaledConv(24, 20), nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3)))  # type: ignore[no-any-return]


class Auxiliary(nn.Module):
    """A head that only training runs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.aux = nn.Linear(24, 4), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        return self.fc(x) + self.aux(x) if self.training else self.fc(x)


class Tied(nn.Module):
    """Two layers with one weight, each with a bias of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.fc = nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 4)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.two(self.one(x.mean((2, 3))).relu()).relu())  # type: ignore[no-any-return]


class Spectrum(nn.Module):
    """An FFT, which nobody counts."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.fft.rfft2(x).abs().mean((2, 3)))  # type: ignore[no-any-return]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "attention": lambda: Stem(Tokens(Attention())),
    "encoder_layer": lambda: Stem(Tokens(nn.TransformerEncoderLayer(24, 4, 32, batch_first=True))),
    "lstm": lambda: Stem(Tokens(nn.LSTM(24, 32, batch_first=True), 32)),
    "gru": lambda: Stem(Tokens(nn.GRU(24, 32, batch_first=True), 32)),
    "feed_forward": lambda: Stem(Tokens(FeedForward())),
    "weighted": lambda: Stem(Tokens(Weighted())),
    "free": lambda: Stem(Free()),
    "scales": lambda: Stem(Scales()),
    "channel_attention": lambda: Stem(ChannelAttention()),
    "gained": lambda: Stem(Gained()),
    "auxiliary": lambda: Stem(Auxiliary()),
    "tied": lambda: Stem(Tied()),
    "spectrum": lambda: Stem(Spectrum()),
}
