"""Pruned networks of Hugging Face as folders that stock transformers loads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from amc.models.from_transformers import network
from amc.models.to_transformers import plain_network, write_folder
from amc.pruning.groups import trace
from amc.pruning.inputs import Example, run
from amc.pruning.surgery import Surgeon

transformers = pytest.importorskip("transformers")
FullDisk = Callable[[int], AbstractContextManager[None]]
IDS = torch.arange(12)[None] + 3
IMAGES = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
SOUND = torch.randn(1, 16, 64, generator=torch.Generator().manual_seed(0))
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 40,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
VISION = {**{k: v for k, v in TEXT.items() if "token" not in k and "vocab" not in k}, "image_size": 32, "patch_size": 8}
FEW = {**TEXT, "num_key_value_heads": 2}
WIDE = {**FEW, "head_dim": 16}  # heads × their width is not the stream's
AUDIO = {"vocab_size": 40, "d_model": 32, "encoder_layers": 2, "encoder_ffn_dim": 48, "encoder_attention_heads": 4,
         "num_mel_bins": 16, "max_source_positions": 32, "pad_token_id": 0, "classifier_proj_size": 24}  # fmt: skip
STAGES = {"depths": [1, 1], "hidden_sizes": [16, 32]}
SEGFORMER = {**STAGES, "num_encoder_blocks": 2, "num_attention_heads": [2, 4], "sr_ratios": [2, 1],
             "patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [4, 4], "decoder_hidden_size": 16}  # fmt: skip
FAMILIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "llama": ("LlamaForCausalLM", FEW),
    "qwen2": ("Qwen2ForCausalLM", FEW),
    "qwen3": ("Qwen3ForCausalLM", WIDE),
    "mistral": ("MistralForCausalLM", FEW),
    "gemma": ("GemmaForCausalLM", WIDE),
    "gemma2": ("Gemma2ForCausalLM", WIDE),
    "gemma3": ("Gemma3ForCausalLM", WIDE),
    "gpt2": ("GPT2LMHeadModel", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 40}),
    "bert": ("BertForSequenceClassification", TEXT),
    "roberta": ("RobertaForSequenceClassification", TEXT),
    "distilbert": ("DistilBertForSequenceClassification",
                   {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4, "vocab_size": 40}),
    "vit": ("ViTForImageClassification", VISION),
    "deit": ("DeiTForImageClassification", VISION),
    "t5": ("T5ForConditionalGeneration",
           {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 40}),
    "whisper": ("WhisperForAudioClassification", AUDIO),
    "segformer": ("SegformerForImageClassification", SEGFORMER),
    "swin": ("SwinForImageClassification", {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1],
             "num_heads": [2, 4], "window_size": 4}),
    "convnext": ("ConvNextForImageClassification", {**STAGES, "num_stages": 2}),
}  # fmt: skip
HEADS = r"(q_proj|query|c_attn.*|q_lin|\.q)$"
STREAM = r"(o_proj|wpe\.weight|projection|output\.dense)$"
WIDTH = r"(gate_proj|c_fc\.bias|intermediate\.dense|lin1|fc1|wi)$"
HALF = {HEADS: 0.5, STREAM: 0.5, WIDTH: 0.5}
# Network, what share of which channels is kept, and the entries of the configuration that say so.
CUTS: list[tuple[str, dict[str, float], dict[str, Any]]] = [
    ("llama", HALF,
     {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}),
    ("qwen2", {STREAM: 0.75}, {"hidden_size": 24, "head_dim": 8}),
    ("qwen2", {HEADS: 0.5, WIDTH: 0.5},
     {"intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}),
    ("qwen3", HALF, {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}),
    ("mistral", HALF,
     {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}),
    ("gemma", {HEADS: 0.5, WIDTH: 0.5},
     {"intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}),
    ("gemma2", {HEADS: 0.5}, {"num_attention_heads": 2, "num_key_value_heads": 1}),
    ("gemma3", {HEADS: 0.5, WIDTH: 0.5},
     {"intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}),
    ("gpt2", {**HALF, WIDTH: 0.25}, {"n_embd": 16, "n_head": 2, "n_inner": 32}),
    ("bert", {**HALF, "pooler": 0.5}, {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}),
    ("roberta", {WIDTH: 0.5}, {"intermediate_size": 24}),
    ("distilbert", {WIDTH: 0.5}, {"hidden_dim": 24}),
    ("vit", {HEADS: 0.75, STREAM: 0.75}, {"hidden_size": 24, "num_attention_heads": 3}),
    ("deit", {HEADS: 0.5, STREAM: 0.5, WIDTH: 0.5},
     {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}),
    ("t5", {HEADS: 0.75, WIDTH: 0.5}, {"num_heads": 3, "d_ff": 24}),
    ("whisper", {WIDTH: 0.5, "projector": 0.75}, {"encoder_ffn_dim": 24, "classifier_proj_size": 18}),
    ("segformer", {WIDTH: 0.75}, {"mlp_ratios": [3, 3]}),
    ("swin", {WIDTH: 0.25, "": 0.5}, {"embed_dim": 8, "num_heads": [1, 2], "mlp_ratio": 2.0}),
    ("convnext", {"": 0.75}, {"hidden_sizes": [12, 24]}),
]  # fmt: skip


def made(name: str, **changes: Any) -> tuple[nn.Module, Example]:
    maker = getattr(transformers, FAMILIES[name][0])
    torch.manual_seed(0)
    model = maker(maker.config_class(**{**FAMILIES[name][1], **changes})).eval()
    if name in ("vit", "deit", "segformer", "swin", "convnext"):
        return model, IMAGES
    if name == "whisper":
        return model, {"input_features": SOUND}
    return model, {"input_ids": IDS, **({"decoder_input_ids": IDS[:, :5]} if name == "t5" else {})}


@cache
def traced(name: str) -> tuple[nn.Module, Example, tuple[LayerGroup, ...]]:
    model, example = made(name)
    return model, example, trace(model, example)


def cut(name: str, shares: Mapping[str, float], seed: int = 0) -> tuple[nn.Module, Example]:
    """With the same number of channels in all layers of a kind, of each layer others."""
    model, example, groups = traced(name)
    rng = np.random.default_rng(seed)
    kept = {}
    for group in groups:
        share = next((value for pattern, value in shares.items() if re.search(pattern, group.name)), 1.0)
        if group.frozen is None and share < 1:
            kept[group.name] = np.sort(rng.permutation(group.channels)[: int(share * group.channels)])
    return Surgeon(model, groups).cut(kept).eval(), example


def dropping(model: nn.Module, *paths: str) -> nn.Module:
    for path in paths:
        model.set_submodule(path, Passing(model.get_submodule(path)))
    return model


class Passing(nn.Module):
    """Gives what it gets, in the form in which the block gives its output."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, stream: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        output = self.block(stream, *args, **kwargs)
        return (stream, *output[1:]) if isinstance(output, tuple) else stream


def content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())  # type: ignore[no-any-return]


def changed(model: nn.Module, folder: Path) -> dict[str, Any]:
    dense = model.config.to_dict()  # type: ignore[operator, union-attr]
    apart = ("architectures", "dtype", "transformers_version", "id2label")
    return {k: v for k, v in content(folder).items() if k not in apart and dense.get(k) != v}


def written(folder: Path, small: nn.Module, example: Example, *dropped: str) -> dict[str, Any]:
    write_folder(folder, small, partial(run, example=example), dropped)
    return changed(small, folder)


@pytest.mark.parametrize(("name", "shares", "entries"), CUTS)
def test_a_cut_network_is_a_folder(tmp_path: Path, name: str, shares: dict[str, float], entries: Any) -> None:
    small, example = cut(name, shares)
    auto = write_folder(tmp_path / "small", small, partial(run, example=example))
    assert changed(traced(name)[0], tmp_path / "small") == entries
    again = getattr(transformers, auto).from_pretrained(tmp_path / "small")
    assert type(again).__name__ == content(tmp_path / "small")["architectures"][0] == FAMILIES[name][0]
    with torch.no_grad():
        torch.testing.assert_close(run(again, example).logits, run(small, example).logits)
    params = [sum(p.numel() for p in model.parameters()) for model in (again, small, traced(name)[0])]
    assert params[0] == params[1] < params[2]


@pytest.mark.parametrize(
    ("name", "dropped", "entries"),
    [
        ("llama", ["model.layers.1", "model.layers.2"], {"num_hidden_layers": 2}),
        ("gemma3", ["model.layers.0"],
         {"num_hidden_layers": 3, "layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}),
        ("gpt2", ["transformer.h.3"], {"n_layer": 3}),
        ("distilbert", ["distilbert.transformer.layer.0"], {"n_layers": 3}),
        ("vit", ["vit.layers.2"], {"num_hidden_layers": 3}),
        ("t5", ["encoder.block.2", "decoder.block.1", "decoder.block.3"], {"num_layers": 3, "num_decoder_layers": 2}),
        ("whisper", ["encoder.layers.1"], {"encoder_layers": 3}),
        ("swin", ["swin.encoder.layers.0.blocks.1"], {"depths": [1, 1]}),
    ],
)  # fmt: skip
def test_blocks_that_do_nothing_are_left_out(tmp_path: Path, name: str, dropped: list[str], entries: Any) -> None:
    depth = dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers"), 4)
    types = ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"]
    lists = {"gemma3": {"layer_types": types, "sliding_window": 4}, "swin": {"depths": [2, 1]}}.get(name, {})
    own = FAMILIES[name][1]
    model, example = made(name, **{k: v for k, v in depth.items() if k in own}, **lists)
    assert written(tmp_path / "small", dropping(model, *dropped), example, *dropped) == entries


def test_width_and_depth_and_a_class_that_returns_logits(tmp_path: Path) -> None:
    dense, example = made("llama", num_hidden_layers=3)
    dense.save_pretrained(tmp_path / "dense")  # type: ignore[operator]
    model = network(str(tmp_path / "dense"), 0, task="causal-lm", pretrained=True)
    groups = trace(model, example)
    kept = {g.name: np.arange(g.channels // 2) for g in groups if g.name.endswith(("gate_proj", "q_proj"))}
    small = dropping(Surgeon(model, groups).cut(kept), "model.layers.1")
    small.generation_config.max_new_tokens = 7  # type: ignore[union-attr]
    small.train()
    assert written(tmp_path / "small", small, example, "model.layers.1") == {
        "num_hidden_layers": 2, "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1,
    }  # fmt: skip
    assert small.training
    assert content(tmp_path / "small")["architectures"] == ["LlamaForCausalLM"]
    assert json.loads((tmp_path / "small" / "generation_config.json").read_text())["max_new_tokens"] == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense", "small"]


def test_numbers_of_blocks_in_lists_follow(tmp_path: Path) -> None:
    settings = {**FEW, "num_hidden_layers": 3, "mlp_only_layers": [1], "num_experts": 2, "num_experts_per_tok": 1,
                "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}  # fmt: skip
    model = transformers.Qwen2MoeForCausalLM(transformers.Qwen2MoeConfig(**settings)).eval()
    dropped = "model.layers.0"
    entries = written(tmp_path / "small", dropping(model, dropped), {"input_ids": IDS}, dropped)
    assert entries["mlp_only_layers"] == [0]


def test_half_precision_and_tied_weights_stay(tmp_path: Path) -> None:
    small, example = cut("gpt2", {WIDTH: 0.5})
    written(tmp_path / "small", small.bfloat16(), example)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small", dtype="auto")
    assert again.dtype == torch.bfloat16
    assert again.lm_head.weight is again.transformer.wte.weight
    plain = plain_network(small, call=partial(run, example=example))
    assert type(plain) is transformers.GPT2LMHeadModel
    assert plain.lm_head.weight is not small.lm_head.weight
    assert plain.lm_head.weight is plain.transformer.wte.weight


@pytest.mark.parametrize(
    ("name", "shares", "says"),
    [
        ("bert", {HEADS: 0.5}, r"num_attention_heads 4 → 2 in bert.encoder.layer.0.attention.self: BertConfig has no"),
        ("gpt2", {STREAM: 0.5}, r"attn.c_attn keeps 96 channels, GPT2Config gives it 48 beside what was cut"),
        ("gpt2", {"h.0.*c_fc": 0.5, WIDTH: 0.75},
         r"h.1.mlp.c_fc keeps 96 and transformer.h.0.mlp.c_fc keeps 64 of 128 .* for both; .*uniform_per_axis=true"),
        ("t5", {"encoder.*wi": 0.5},
         r"encoder.block.0.*wi keeps 24 and decoder.block.0.*wi keeps 48 of 48 channels, T5Config has one entry"),
        ("bert", {"pooler": 0.5}, r"pooler.dense keeps 16 and .* keeps 32 of 32 channels, BertConfig has one entry"),
        ("gemma", {STREAM: 0.5}, r"with the sizes that GemmaConfig can give, outputs differ by .* of the largest"),
    ],
)  # fmt: skip
def test_what_no_configuration_says_is_one_line(tmp_path: Path, name: str, shares: Any, says: str) -> None:
    small, example = cut(name, shares)
    with pytest.raises(AmcError, match=says) as caught:
        written(tmp_path / "small", small, example)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_class_that_refuses_the_right_numbers_says_why() -> None:
    model, example = made("llama", num_key_value_heads=4)
    groups = trace(model, example)
    small = Surgeon(model, groups).cut({g.name: np.arange(3) for g in groups if g.name.endswith("q_proj")})
    assert plain_network(small).config.head_dim == 6  # 4 × 6 are the sizes of 3 × 8, and nothing else
    with pytest.raises(
        AmcError, match=r"outputs differ .* says: The hidden size \(32\) is not a multiple .* \(3\); cut"
    ):
        plain_network(small, call=partial(run, example=example))


def test_blocks_that_must_stay() -> None:
    model, _ = made("t5")
    with pytest.raises(AmcError, match=r"block 0 of the 2 in encoder.block can't be left out \(of 1, .*bias.* lacking"):
        plain_network(dropping(model, "encoder.block.0"), ["encoder.block.0"])
    with pytest.raises(AmcError, match="no block of a list"):
        plain_network(model, ["encoder"])
    half, _ = made("llama")
    half.set_submodule("model.layers.1.mlp", nn.Identity())
    with pytest.raises(AmcError, match=r"layers.1.mlp.down_proj.weight is gone, and LlamaConfig always asks for it"):
        plain_network(half)


def test_networks_of_others_are_refused() -> None:
    with pytest.raises(AmcError, match="Linear: no network of transformers"):
        plain_network(nn.Linear(2, 2))


def test_a_folder_is_replaced_if_nothing_else_lies_there(tmp_path: Path, full_disk: FullDisk) -> None:
    small, example = cut("llama", {WIDTH: 0.5})
    dense, folder = traced("llama")[0], tmp_path / "small"
    written(folder, dense, example)
    assert written(folder, small, example) == {"intermediate_size": 24}
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(AmcError, match=r"holds tokenizer.json, which would be lost; give a new folder"):
        written(folder, dense, example)
    with pytest.raises(AmcError, match="is a file"):
        written(folder / "config.json", dense, example)
    (folder / "tokenizer.json").unlink()
    with full_disk(1000), pytest.raises(AmcError, match=r"small: can't be written .*disk space"):
        written(folder, dense, example)
    assert content(folder)["intermediate_size"] == 24
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
