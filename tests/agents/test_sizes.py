"""Settings that would take more memory than there is, refused before they take any."""

from __future__ import annotations

from typing import Any

import pytest

import agents


@pytest.mark.parametrize(
    ("agent", "setting", "value"),
    [
        ("ddpg", "hidden", [4096] * 16),
        ("ppo", "hidden", [4096] * 16),
        ("td3", "batch_size", 1_000_000),
    ],
)
def test_it_is_one_line_with_size_and_limit(
    agent: str, setting: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amc.core.memory.free_bytes", lambda: 1 << 30)
    with pytest.raises(
        ValueError, match=rf"^agent\.{setting}=.*: takes about \S+ GiB of memory, 1 GiB are free"
    ) as error:
        agents.check_settings(agent, {setting: value})
    assert len(str(error.value)) < 400
    agents.check_settings(agent, {})
