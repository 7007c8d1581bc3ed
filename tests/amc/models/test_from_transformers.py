"""Hugging Face's networks from a folder, and from a configuration alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from amc.core.errors import AmcError
from amc.models import build
from amc.models.arguments import check_pretrained
from amc.models.build import described
from amc.models.from_transformers import FROM_CONFIG, config_of, from_config, network, read_config
from amc.models.libraries import TRANSFORMERS
from amc.pruning.groups import trace
from amc.pruning.saved import load
from tests.support.kept_networks import outputs, randomly_cut, save

transformers = pytest.importorskip("transformers")
SHAPE = (3, 32, 32)
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ResNet as ``save_pretrained`` leaves it."""
    path = tmp_path_factory.mktemp("my resnet")
    torch.manual_seed(0)
    transformers.ResNetForImageClassification(transformers.ResNetConfig(**RESNET)).save_pretrained(path)
    return path


def changed(folder: Path, into: Path, **entries: Any) -> Path:
    shutil.copytree(folder, into)
    content = json.loads((into / "config.json").read_text())
    (into / "config.json").write_text(json.dumps({**content, **entries}))
    return into


def test_it_gives_the_logits_of_the_network_in_the_folder(folder: Path) -> None:
    own = transformers.ResNetForImageClassification.from_pretrained(folder).eval()
    model = build(TRANSFORMERS.target, 5, SHAPE, source=str(folder), pretrained=True)
    images = torch.randn(2, *SHAPE)
    assert torch.equal(model(images), own(images).logits)
    assert [name for name, _ in model.named_modules()] == [name for name, _ in own.named_modules()]
    assert model.state_dict().keys() == own.state_dict().keys()


def test_random_weights_are_for_these_images_and_classes() -> None:
    tiny = str(Path(__file__).parents[2] / "data" / "tiny_vit")  # has no weights
    model = build(TRANSFORMERS.target, 7, (1, 32, 32), source=tiny)
    assert model.config.image_size == 32
    assert tuple(outputs(model, (1, 32, 32)).shape) == (3, 7)
    with pytest.raises(AmcError, match="its weights can't be loaded"):
        build(TRANSFORMERS.target, 3, (3, 16, 16), source=tiny, pretrained=True)


def test_what_does_not_fit_is_one_line(folder: Path, tmp_path: Path) -> None:
    where = str(folder)
    for says, arguments in {
        "knows 5 classes, the dataset has 10": (where, 10, SHAPE),
        "these data sets are labelled images": (where, 5, SHAPE, "causal-lm"),
        "unknown; give one of image-classification": (where, 5, None, "nothing"),
        "a folder without config.json": (str(tmp_path), 5, SHAPE),
        "nothing of that name in the local cache; .*model.pretrained=hub would fetch it": ("no/such-net", 5, SHAPE),
        "did you mean resnet": (str(changed(folder, tmp_path / "a", model_type="resnett")), 5, SHAPE),
        "names no model_type": (str(changed(folder, tmp_path / "b", model_type=None)), 5, SHAPE),
        "of a quantized network": (str(changed(folder, tmp_path / "c", quantization_config={"bits": 4})), 5, SHAPE),
    }.items():
        source, classes, shape, *task = arguments
        with pytest.raises(AmcError, match=says):
            network(source, classes, shape, pretrained=True, **({"task": task[0]} if task else {}))


def test_weights_are_read_from_safetensors_alone_and_all_of_them(folder: Path, tmp_path: Path) -> None:
    copy = changed(folder, tmp_path / "copy", hidden_sizes=[8, 24])
    with pytest.raises(AmcError, match=r"is missing there, or of another shape|can't be loaded"):
        network(str(copy), 5, SHAPE, pretrained=True)
    own = transformers.ResNetForImageClassification.from_pretrained(folder)
    (copy / "model.safetensors").unlink()
    torch.save(own.state_dict(), copy / "pytorch_model.bin")
    shutil.copy(folder / "config.json", copy)
    with pytest.raises(AmcError, match="safetensors alone are read"):
        network(str(copy), 5, SHAPE, pretrained=True)


def test_code_in_a_folder_is_not_run(folder: Path, tmp_path: Path) -> None:
    classes = {"AutoConfig": "strange.Config", "AutoModelForImageClassification": "strange.Net"}
    copy = changed(folder, tmp_path / "strange", auto_map=classes, attn_implementation="someone/kernel")
    (copy / "strange.py").write_text("raise SystemExit('run')")
    model = network(str(copy), 5, SHAPE, pretrained=True)
    assert type(model).__name__ == "ResNetForImageClassification"
    assert not {"auto_map", "attn_implementation", "_name_or_path"} & read_config(str(copy)).keys()
    assert "strange" not in config_of(model)


def test_no_hub_is_asked_while_a_network_is_built(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    from huggingface_hub import constants

    seen = []
    maker = transformers.AutoModelForImageClassification
    real = maker.from_config
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        maker, "from_config", lambda *a, **k: seen.append((constants.HF_HUB_OFFLINE, k)) or real(*a, **k)
    )
    network(str(folder), 5, SHAPE)
    assert seen == [(True, {"trust_remote_code": False})]
    assert not constants.HF_HUB_OFFLINE


def test_a_source_is_looked_at_before_anything_is_loaded(folder: Path) -> None:
    model = {"name": "net", "net": {"_target_": TRANSFORMERS.target, "source": str(folder)}}
    for pretrained in (True, "auto", "hub"):
        with pytest.raises(AmcError, match="knows 5 classes, the dataset has 10"):
            check_pretrained({**model, "pretrained": pretrained}, "digits")
        check_pretrained({**model, "pretrained": pretrained}, "imagefolder")
    check_pretrained({**model, "pretrained": False}, "digits")
    with pytest.raises(AmcError, match="no such folder"):
        check_pretrained({**model, "net": {**model["net"], "source": "no/such-net"}, "pretrained": False}, "digits")


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_pruned_one_comes_back_without_the_folder(folder: Path, tmp_path: Path, pretrained: bool) -> None:
    source = shutil.copytree(folder, tmp_path / "source")
    arguments = {"source": str(source), "task": "image-classification"}
    model = build(TRANSFORMERS.target, 5, SHAPE, pretrained=pretrained, **arguments)
    description = described(TRANSFORMERS.target, "imagenet", arguments, model)
    assert description["target"] == FROM_CONFIG
    assert str(tmp_path) not in str(description)
    shutil.rmtree(source)
    small, plan = randomly_cut(model, trace(model, torch.randn(2, *SHAPE)))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    save(tmp_path / "pruned", small, plan, description=description, image_shape=SHAPE, num_classes=5)
    again = load(tmp_path / "pruned")
    assert torch.equal(outputs(again, SHAPE), outputs(small, SHAPE))


def test_a_pruned_transformer_comes_back(tmp_path: Path) -> None:
    arguments = {"source": str(Path(__file__).parents[2] / "data" / "tiny_vit")}
    model = build(TRANSFORMERS.target, 10, SHAPE, **arguments)
    small, plan = randomly_cut(model, trace(model, torch.randn(2, *SHAPE)))
    save(tmp_path, small, plan, description=described(TRANSFORMERS.target, "auto", arguments, model), image_shape=SHAPE)
    assert torch.equal(outputs(load(tmp_path), SHAPE), outputs(small, SHAPE))


def test_a_configuration_that_is_none_is_one_line() -> None:
    for text in ("", "[]", "{}", '{"model_type": 3}', "{" * 1000):
        with pytest.raises(AmcError):
            from_config(text, 5)


def test_a_language_model_gives_its_logits(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=50, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    model: nn.Module = network(str(tmp_path), 0, task="causal-lm", pretrained=True)
    assert tuple(model(input_ids=torch.ones(1, 4, dtype=torch.long)).shape) == (1, 4, 50)
