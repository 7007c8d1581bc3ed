"""Hugging Face's families as tiny networks: from configurations written here, with random weights, no hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from amc.pruning.inputs import Example
from experiments.coverage.inputs import Built, call, scaled_images, tokens

VOCABULARY, LENGTH, IMAGE = 128, 16, 64
TEXT = {"vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4}  # fmt: skip
FEW_HEADS = {**TEXT, "num_key_value_heads": 2}  # grouped-query attention
OWN_WIDTH = {**FEW_HEADS, "head_dim": 16}
VISION = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
          "image_size": IMAGE, "patch_size": 16}  # fmt: skip
BART = {"vocab_size": VOCABULARY, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 128, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "max_position_embeddings": 64}  # fmt: skip
STAGES = {"embedding_size": 32, "hidden_sizes": [32, 64, 96, 128], "depths": [1, 1, 1, 1]}
# Of audio: seven convolutions are the default, a second of sound would need them all.
WAV2VEC2 = {**TEXT, "conv_dim": [32, 32, 32], "conv_stride": [5, 2, 2], "conv_kernel": [10, 3, 3],
            "num_feat_extract_layers": 3, "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4}  # fmt: skip

# name → (model class, its own settings, kind of input); the configuration's class is the model's.
TINY: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "vit": ("ViTForImageClassification", VISION, "image"),
    "deit": ("DeiTForImageClassification", VISION, "image"),
    "beit": ("BeitForImageClassification", VISION, "image"),
    "dinov2": ("Dinov2ForImageClassification", VISION, "image"),
    "swin": ("SwinForImageClassification", {"image_size": IMAGE, "patch_size": 4, "embed_dim": 32, "depths": [2, 2],
             "num_heads": [2, 4], "window_size": 4}, "image"),
    "swinv2": ("Swinv2ForImageClassification", {"image_size": IMAGE, "patch_size": 4, "embed_dim": 32,
               "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}, "image"),
    "convnext": ("ConvNextForImageClassification", {k: v for k, v in STAGES.items() if k != "embedding_size"}, "image"),
    "convnextv2": ("ConvNextV2ForImageClassification", {k: v for k, v in STAGES.items() if k != "embedding_size"},
                   "image"),
    "segformer": ("SegformerForImageClassification", {"hidden_sizes": [32, 64, 96, 128], "depths": [1, 1, 1, 1],
                  "num_attention_heads": [1, 2, 3, 4], "decoder_hidden_size": 64}, "image"),
    "segformer-segmentation": ("SegformerForSemanticSegmentation", {"hidden_sizes": [32, 64, 96, 128],
                               "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 3, 4],
                               "decoder_hidden_size": 64}, "image"),
    "mobilevit": ("MobileViTForImageClassification", {"image_size": IMAGE, "hidden_sizes": [48, 64, 80],
                  "neck_hidden_sizes": [16, 16, 24, 32, 48, 64, 128]}, "image"),
    "poolformer": ("PoolFormerForImageClassification", {"hidden_sizes": [32, 64, 96, 128], "depths": [1, 1, 1, 1]},
                   "image"),
    "resnet": ("ResNetForImageClassification", STAGES, "image"),
    "regnet": ("RegNetForImageClassification", {**STAGES, "groups_width": 16}, "image"),
    "mobilenet-v2": ("MobileNetV2ForImageClassification", {"image_size": IMAGE, "depth_multiplier": 0.5}, "image"),
    "efficientnet": ("EfficientNetForImageClassification", {"image_size": IMAGE, "width_coefficient": 0.5,
                     "depth_coefficient": 0.5, "hidden_dim": 640}, "image"),
    "levit": ("LevitForImageClassification", {"image_size": IMAGE, "hidden_sizes": [32, 64, 96],
              "num_attention_heads": [2, 4, 6], "depths": [1, 1, 1], "key_dim": [16, 16, 16]}, "image"),
    "pvt-v2": ("PvtV2ForImageClassification", {"image_size": IMAGE, "hidden_sizes": [32, 64, 160, 256],
               "depths": [1, 1, 1, 1]}, "image"),
    "siglip-vision": ("SiglipVisionModel", VISION, "image"),
    "clip-vision": ("CLIPVisionModel", VISION, "image"),
    "clip-text": ("CLIPTextModel", {**TEXT, "max_position_embeddings": 64, "eos_token_id": 2}, "text"),
    "bert": ("BertForSequenceClassification", TEXT, "text"),
    "bert-masked": ("BertForMaskedLM", TEXT, "text"),
    "distilbert": ("DistilBertForSequenceClassification", {"vocab_size": VOCABULARY, "dim": 64, "hidden_dim": 128,
                   "n_layers": 2, "n_heads": 4}, "text"),
    "roberta": ("RobertaForSequenceClassification", TEXT, "text"),
    "electra": ("ElectraForSequenceClassification", {**TEXT, "embedding_size": 32}, "text"),
    "albert": ("AlbertForSequenceClassification", {**TEXT, "embedding_size": 32}, "text"),
    "deberta-v2": ("DebertaV2ForSequenceClassification", {**TEXT, "relative_attention": True,
                   "pos_att_type": ["p2c", "c2p"]}, "text"),
    "modernbert": ("ModernBertForSequenceClassification", {**TEXT, "pad_token_id": 0, "num_hidden_layers": 4}, "text"),
    "gpt2": ("GPT2LMHeadModel", {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2, "n_head": 4}, "decoder"),
    "gpt-neox": ("GPTNeoXForCausalLM", TEXT, "decoder"),
    "opt": ("OPTForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "word_embed_proj_dim": 64, "max_position_embeddings": 64}, "decoder"),
    "bloom": ("BloomForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 64, "n_layer": 2, "n_head": 4}, "decoder"),
    "falcon": ("FalconForCausalLM", TEXT, "decoder"),
    "llama": ("LlamaForCausalLM", FEW_HEADS, "decoder"),
    "mistral": ("MistralForCausalLM", FEW_HEADS, "decoder"),
    "qwen2": ("Qwen2ForCausalLM", FEW_HEADS, "decoder"),
    "qwen3": ("Qwen3ForCausalLM", OWN_WIDTH, "decoder"),
    "gemma": ("GemmaForCausalLM", OWN_WIDTH, "decoder"),
    "gemma2": ("Gemma2ForCausalLM", OWN_WIDTH, "decoder"),
    "phi3": ("Phi3ForCausalLM", {**FEW_HEADS, "pad_token_id": 0}, "decoder"),
    "mixtral": ("MixtralForCausalLM", {**FEW_HEADS, "num_local_experts": 4}, "decoder"),
    "mamba": ("MambaForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 2,
              "state_size": 8}, "decoder"),
    "t5": ("T5ForConditionalGeneration", {"vocab_size": VOCABULARY, "d_model": 64, "d_kv": 16, "d_ff": 128,
           "num_layers": 2, "num_heads": 4}, "both"),
    "bart": ("BartForConditionalGeneration", BART, "both"),
    "whisper-encoder": ("WhisperForAudioClassification", {**BART, "num_mel_bins": 16, "max_source_positions": 32},
                        "spectrum"),
    "wav2vec2": ("Wav2Vec2ForSequenceClassification", WAV2VEC2, "sound"),
}  # fmt: skip


def build(name: str) -> Built:
    """The tiny network called ``name``, an input, and the path of its vocabulary head."""
    import transformers

    transformers.logging.set_verbosity_error()
    class_name, own, kind = TINY[name]
    maker = getattr(transformers, class_name)
    settings = {**own, "use_cache": False} if kind in ("decoder", "both") else dict(own)
    config = maker.config_class(**settings)
    model: nn.Module = maker(config).eval()
    example = _example(kind)
    call(model, example)
    return Built(model, example, _head(model))


def _example(kind: str) -> Example:
    """Images go in as a tensor, everything else by name."""
    if kind == "image":
        return scaled_images(IMAGE)
    if kind == "spectrum":
        return {"input_features": scaled_images(64)[:, 0, :16]}  # [1, mel bins, frames]
    if kind == "sound":
        return {"input_values": torch.rand(1, 1600, generator=torch.Generator().manual_seed(0))}
    text = {"input_ids": tokens(LENGTH, VOCABULARY), "attention_mask": torch.ones(1, LENGTH, dtype=torch.long)}
    return {**text, "decoder_input_ids": tokens(LENGTH, VOCABULARY)} if kind == "both" else text


def _head(model: nn.Module) -> str | None:
    """The layer that maps to the vocabulary, whose outputs nobody can prune."""
    found = model.get_output_embeddings()  # type: ignore[operator]
    return next((name for name, module in model.named_modules() if module is found), None)
