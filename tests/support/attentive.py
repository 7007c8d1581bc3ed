"""Tiny networks of other libraries and torch's own attention, each with an example of its inputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from amc.models import build
from amc.models.from_transformers import FROM_CONFIG
from amc.pruning.inputs import Example

IDS = torch.arange(12)[None]
IMAGES = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
Made = tuple[nn.Module, Example]
LANGUAGE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
            "vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip


def llama() -> Made:
    hf = pytest.importorskip("transformers", reason="the extra [transformers] is not installed")
    return hf.LlamaForCausalLM(hf.LlamaConfig(**LANGUAGE, num_key_value_heads=2)), {"input_ids": IDS}


def gpt2() -> Made:
    hf = pytest.importorskip("transformers", reason="the extra [transformers] is not installed")
    config = hf.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=40, bos_token_id=1, eos_token_id=2)
    return hf.GPT2LMHeadModel(config), {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}


def t5() -> Made:
    hf = pytest.importorskip("transformers", reason="the extra [transformers] is not installed")
    config = hf.T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=40)
    return hf.T5ForConditionalGeneration(config), {"input_ids": IDS, "decoder_input_ids": IDS[:, :5]}


def vit() -> Made:
    hf = pytest.importorskip("transformers", reason="the extra [transformers] is not installed")
    config = hf.ViTConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                          image_size=32, patch_size=8, num_labels=5)  # fmt: skip
    return hf.ViTForImageClassification(config), {"pixel_values": IMAGES}


def timm_vit() -> Made:
    timm = pytest.importorskip("timm", reason="the extra [timm] is not installed")
    model = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, mlp_ratio=2, num_classes=5, init_values=1e-5
    )
    return model, IMAGES


def torch_vit() -> Made:
    """With ``nn.MultiheadAttention``."""
    return torchvision.models.VisionTransformer(32, 8, 2, 4, 32, 48, num_classes=5), IMAGES


def swin() -> Made:
    """Whose attention reckons the width of heads from the width of the stream."""
    return torchvision.models.SwinTransformer([2, 2], 16, [2, 2], [2, 4], [4, 4], num_classes=5), IMAGES


def detector() -> Made:
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    )
    return model, ([IMAGES[0].sigmoid()],)


def two_stages() -> Made:
    """A detector whose second stage looks at as many places as the first one has found."""
    model = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=64
    )
    return model, ([IMAGES[0].sigmoid()],)


class Decoder(nn.Module):
    """Attention as many write it: the embedding's width stands for heads × their width."""

    def __init__(self) -> None:
        super().__init__()
        self.n_head = 4
        self.embed, self.norm = nn.Embedding(40, 32), nn.LayerNorm(32)
        self.qkv, self.proj, self.head = nn.Linear(32, 96), nn.Linear(32, 32), nn.Linear(32, 40)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        b, t, c = x.size()
        q, k, v = self.qkv(self.norm(x)).split(c, dim=2)
        q, k, v = (z.view(b, t, self.n_head, c // self.n_head).transpose(1, 2) for z in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(x + self.proj(y.transpose(1, 2).contiguous().view(b, t, c)))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **options: object) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 12)
        self.rnn = kind(12, 10, batch_first=True, **options)
        self.head = nn.Linear(20 if self.rnn.bidirectional else 10, 5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(ids))[0][:, -1])  # type: ignore[no-any-return]


def plain_vit(classes: int, size: int) -> nn.Module:
    """A vision transformer of Hugging Face's whose output is its logits, as ``model=hf/FOLDER`` makes it."""
    hf = pytest.importorskip("transformers", reason="the extra [transformers] is not installed")
    config = hf.ViTConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
                          image_size=size, patch_size=4)  # fmt: skip
    return build(FROM_CONFIG, classes, (3, size, size), config=config.to_json_string())


NETWORKS: dict[str, Callable[[], Made]] = {
    "llama": llama,
    "gpt2": gpt2,
    "t5": t5,
    "vit": vit,
    "timm vit": timm_vit,
    "torch vit": torch_vit,
    "swin": swin,
    "detector": detector,
    "decoder": lambda: (Decoder(), IDS),
    "lstm": lambda: (Recurrent(nn.LSTM), IDS),
    "gru": lambda: (Recurrent(nn.GRU, num_layers=2, bidirectional=True), IDS),
}
