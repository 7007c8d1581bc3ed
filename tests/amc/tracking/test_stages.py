from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amc.tracking.stages import stages


def test_a_small_resnet_has_a_stage_for_each_of_its_own() -> None:
    names = ["conv1", *(f"layer{s}.{b}.conv1" for s in (1, 2, 3) for b in range(3)), "linear"]
    found = stages(names)
    assert list(found) == ["conv1", "layer1", "layer2", "layer3", "linear"]
    assert found["layer2"] == ["layer2.0.conv1", "layer2.1.conv1", "layer2.2.conv1"]


def test_what_is_too_much_for_one_is_divided_between_blocks() -> None:
    names = [f"layer3.{block}.conv{conv}" for block in range(6) for conv in (1, 2)]
    assert {title: len(members) for title, members in stages(names, most=5).items()} == {
        "layer3.0 … layer3.1": 4,
        "layer3.2 … layer3.3": 4,
        "layer3.4 … layer3.5": 4,
    }


def test_one_long_list_of_features_is_divided() -> None:
    mobilenet = ["features.0.0", *(f"features.{i}.conv.{j}.0" for i in range(1, 6) for j in (0, 1))]
    assert list(stages(mobilenet, most=4)) == [
        "features.0 … features.1", "features.2 … features.3", "features.4 … features.5",
    ]  # fmt: skip
    vgg = [f"features.{i}" for i in (0, 3, 7, 10)] + ["classifier.0", "classifier.3"]
    assert list(stages(vgg, most=2)) == ["features.0 … features.3", "features.7 … features.10", "classifier"]


def test_a_block_that_is_too_large_by_itself_is_divided_too() -> None:
    names = [f"body.block1.layer{i}" for i in range(4)] + ["body.block2.layer0"]
    assert list(stages(names, most=3)) == [
        "body.block1.layer0 … body.block1.layer2", "body.block1.layer3", "body.block2",
    ]  # fmt: skip


def test_single_layers_at_the_top_share_a_stage() -> None:
    assert stages(["conv1", "conv2", "conv3"]) == {"conv1 … conv3": ["conv1", "conv2", "conv3"]}


@given(
    st.lists(
        st.lists(st.sampled_from("ab0"), min_size=1, max_size=3).map(".".join), min_size=1, max_size=40, unique=True
    ),
    st.integers(1, 8),
)
def test_every_group_is_in_one_stage_and_none_is_too_large(names: list[str], most: int) -> None:
    names = sorted(names)
    found = stages(names, most)
    assert sorted(name for members in found.values() for name in members) == names
    assert all(len(members) <= most for members in found.values())
