"""A user's own network and data, and a search of it."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from amc.search.result import SearchResult
from amc.search.run import search
from amc.task.settings import Settings

Loader = DataLoader[tuple[torch.Tensor, ...]]


class OwnNet(nn.Module):
    """What a user might have: no registry knows it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(32 * 4 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).flatten(1))


def own_loader(images: int, seed: int, noise: float = 1.0) -> Loader:
    """Images whose class is the quadrant-like pattern added to noise: easy, but not for a network cut blindly."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (images,), generator=generator)
    patterns = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(99))
    blurred = patterns[labels] + noise * torch.randn(images, 1, 8, 8, generator=generator)
    return DataLoader(TensorDataset(blurred, labels), 16)


def trained_net() -> OwnNet:
    torch.manual_seed(0)
    model = OwnNet()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(3):
        for x, y in own_loader(128, 0):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()
    return model.eval()


PLAIN = Settings(images=64, calibration_images=64)
QUICK = Settings(images=64, calibration_images=64, agent={"warmup_episodes": 2})


def run(model: nn.Module, **arguments: object) -> SearchResult:
    defaults: dict[str, object] = {
        "train": own_loader(128, 0), "val": own_loader(64, 1), "test": own_loader(64, 2),
        "episodes": 5, "settings": QUICK, "verbose": False,
    }  # fmt: skip
    return search(model, **{**defaults, **arguments})  # type: ignore[arg-type]
