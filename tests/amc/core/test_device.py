from __future__ import annotations

import pytest
import torch

from amc.core.device import resolve_device
from amc.core.errors import AmcError


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["mps", "meta", "xpu", "gpu", "", None, 1.5, "cuda:999"])
def test_other_devices_are_one_line(name: object) -> None:
    with pytest.raises(AmcError, match=f"^device={name}: ") as caught:
        resolve_device(name)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
