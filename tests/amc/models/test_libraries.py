"""Names of other libraries' networks, with the libraries or without."""

from __future__ import annotations

import sys

import pytest

from amc.core.errors import AmcError
from amc.core.trust import BUILDERS, check_arguments
from amc.models.arguments import check_pretrained
from amc.models.libraries import LIBRARIES, TIMM, TRANSFORMERS, import_library, name_of, named_by


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm/resnet10t", (TIMM, "resnet10t", "timm-resnet10t")),
        ("timm/resnet10t.c3_in1k", (TIMM, "resnet10t.c3_in1k", "timm-resnet10t.c3_in1k")),
        ("hf/google/vit-base", (TRANSFORMERS, "google/vit-base", "hf-vit-base")),
        ("hf//data/my vit/", (TRANSFORMERS, "/data/my vit/", "hf-my_vit")),
        ("resnet18", None),
        ("my_pkg.my_net", None),
        ("other/net", None),
    ],
)
def test_what_a_name_means(name: str, expected: object) -> None:
    assert named_by(name) == expected
    if expected is not None:
        library, own, _ = named_by(name) or (TIMM, "", "")
        assert name_of({"_target_": library.target, library.argument: own}) == name


def test_a_prefix_alone_names_nothing() -> None:
    with pytest.raises(AmcError, match="no name behind timm/"):
        named_by("timm/")
    assert name_of({"_target_": "torchvision.models.resnet18"}) is None


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.package)
def test_without_the_package_one_line_says_how_to_get_it(library: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert library in LIBRARIES
    monkeypatch.setitem(sys.modules, library.package, None)  # type: ignore[attr-defined]
    with pytest.raises(AmcError, match=rf"pip install 'amc-pruning\[{library.package}\]'$"):  # type: ignore[attr-defined]
        import_library(library)  # type: ignore[arg-type]


def test_their_builders_are_trusted_but_a_file_asks_for_no_weights() -> None:
    assert {library.target for library in LIBRARIES} < set(BUILDERS)
    for target in BUILDERS:
        with pytest.raises(AmcError, match="may not stand in a file"):
            check_arguments(target, {"pretrained": True}, "file")
        with pytest.raises(AmcError, match="does not take"):
            check_arguments(target, {"checkpoint_path": "x"}, "file")


@pytest.mark.parametrize("target", [TIMM.target, "torchvision.models.resnet18", "amc.models.cifar_resnet.resnet20"])
def test_only_one_of_them_tells_cache_from_hub(target: str) -> None:
    with pytest.raises(AmcError, match="only model=hf/NAME has it"):
        check_pretrained({"name": "net", "net": {"_target_": target}, "pretrained": "hub"}, "digits")
