from __future__ import annotations

from pathlib import Path

import pytest

from amc.core.errors import AmcError
from amc.core.types import Cost, LayerGroup
from amc.tracking.group_facts import GroupFacts, NetworkFacts, read_groups, write_groups


def test_what_is_written_is_read(tmp_path: Path) -> None:
    groups = [
        LayerGroup("conv1", "conv3x3", 16, 1, True, 3, 8, 8, 1, 3, 100, 10),
        LayerGroup("fc", "linear", 10, 1, False, 16, 1, 1, 1, 1, 50, 5, (), "the network's output"),
    ]
    write_groups(tmp_path / "groups.json", groups, Cost(200, 40))
    assert read_groups(tmp_path / "groups.json") == NetworkFacts(
        200,
        40,
        (
            GroupFacts("conv1", "conv3x3", 16, True, 100, 10, None),
            GroupFacts("fc", "linear", 10, False, 50, 5, "the network's output"),
        ),
    )


@pytest.mark.parametrize("text", ["[]", "{}", '{"macs": 1, "params": 1, "groups": [{"name": "a"}]}', '{"macs": "x"}'])
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "groups.json").write_text(text)
    with pytest.raises(AmcError, match=r"groups\.json: no layer groups .* damaged$"):
        read_groups(tmp_path / "groups.json")
