"""Random vision-language models of real architectures, a few hundred kilobytes each, and a WD tagger in ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

QWEN_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
QWEN_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}{% if c.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PATCHES = {"min_pixels": 28 * 28 * 4, "max_pixels": 28 * 28 * 16, "temporal_patch_size": 2, "merge_size": 2}


def write_qwen(folder: Path, generation: str) -> Path:
    """Write a random Qwen2-VL ("qwen2"), Qwen2.5-VL ("qwen2_5") or Qwen3-VL ("qwen3") model."""
    import transformers as hf

    tokenizer = _tokenizer(QWEN_TOKENS, eos="<|im_end|>", pad="<|endoftext|>")
    tokenizer.chat_template = QWEN_CHAT
    tokenizer.save_pretrained(folder)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in QWEN_TOKENS}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "rope_parameters": rope,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "bos_token_id": None,
    }
    vision: dict[str, Any] = {"depth": 2, "num_heads": 4, "patch_size": 14, "spatial_merge_size": 2}
    if generation == "qwen2":
        vision |= {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
    else:
        vision |= {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32}
    if generation == "qwen2_5":
        vision |= {"fullatt_block_indexes": [1], "window_size": 56}
    if generation == "qwen3":
        vision |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    name = {"qwen2": "Qwen2VL", "qwen2_5": "Qwen2_5_VL", "qwen3": "Qwen3VL"}[generation]
    config = getattr(hf, f"{name}Config")(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    _save(getattr(hf, f"{name}ForConditionalGeneration"), config, folder)
    settings = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, **PATCHES}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def write_florence(folder: Path) -> Path:
    """Write a random Florence-2 model of the layout that transformers loads natively."""
    import transformers as hf

    tokenizer = _tokenizer(
        ("<s>", "<pad>", "</s>", "<unk>", "<image>"), eos="</s>", pad="<pad>", bos="<s>", image="<image>"
    )
    tokenizer.save_pretrained(folder)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in ("<s>", "<pad>", "</s>", "<image>")}
    config = hf.Florence2Config(
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": 256,
            "bos_token_id": ids["<s>"],
            "eos_token_id": ids["</s>"],
            "pad_token_id": ids["<pad>"],
            "decoder_start_token_id": ids["</s>"],
            "forced_eos_token_id": ids["</s>"],
        },
        vision_config={
            "depths": [1, 1, 1, 1],
            "embed_dim": [8, 16, 16, 32],
            "num_heads": [1, 2, 2, 4],
            "num_groups": [1, 2, 2, 4],
            "window_size": 4,
            "projection_dim": 32,
            "max_position_embeddings": 10,
        },
        image_token_id=ids["<image>"],
    )
    # Left to itself this random model ends at once: these words make it say something.
    forced = {"min_new_tokens": 4, "suppress_tokens": [ids["<pad>"]]}
    _save(hf.Florence2ForConditionalGeneration, config, folder, **forced)
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"height": 64, "width": 64},
        "do_center_crop": False,
        "image_seq_length": 5,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def write_llava(folder: Path) -> Path:
    """Write a random LLaVA model: the common form of a vision tower, a projection and a language model."""
    import transformers as hf

    tokenizer = _tokenizer(("<s>", "<pad>", "</s>", "<image>"), eos="</s>", pad="<pad>", bos="<s>")
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}USER: "
        "{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %} ASSISTANT:"
        "{% endfor %}"
    )
    tokenizer.save_pretrained(folder)
    config = hf.LlavaConfig(
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
        },
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "image_size": 56,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "patch_size": 14,
            "projection_dim": 32,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    _save(hf.LlavaForConditionalGeneration, config, folder)
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 56},
        "crop_size": {"height": 56, "width": 56},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    processor = {
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    (folder / "processor_config.json").write_text(
        json.dumps({**processor, "processor_class": "LlavaProcessor"})
    )
    return folder


def write_tagger(folder: Path, tags: list[tuple[str, int]], side_px: int = 448) -> Path:
    """Write an ONNX tagger that looks at mean colours: output i is probable where blue, green or red (i modulo 3) is strong.

    Input float32 [N, side, side, 3], blue, green, red, 0–255; output sigmoid((mean of channel i % 3 − 128) / 16).
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save

    channels = np.zeros((3, len(tags)), np.float32)
    channels[np.arange(len(tags)) % 3, np.arange(len(tags))] = 1 / 16
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
            helper.make_node("Sub", ["mean", "middle"], ["centred"]),
            helper.make_node("MatMul", ["centred", "channels"], ["logits"]),
            helper.make_node("Sigmoid", ["logits"], ["output"]),
        ],
        "tagger",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", side_px, side_px, 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", len(tags)])],
        [
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(np.array(128, np.float32), "middle"),
            numpy_helper.from_array(channels, "channels"),
        ],
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    save(model, str(folder / "model.onnx"))
    rows = [f"{index},{name},{category},1000" for index, (name, category) in enumerate(tags)]
    (folder / "selected_tags.csv").write_text("\n".join(["tag_id,name,category,count", *rows]) + "\n")
    return folder


def _tokenizer(specials: tuple[str, ...], **named: str) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer that knows a few words of captions."""
    words = "full body, front view, standing, white background. describe the picture with short phrases, no sentences"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [words],
        trainers.BpeTrainer(
            vocab_size=340, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
        ),
    )
    extra = {"image_token": named.pop("image")} if "image" in named else {}
    named = {f"{name}_token": token for name, token in named.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, extra_special_tokens=extra, **named)


def _save(model_class: Any, config: Any, folder: Path, **generation: Any) -> None:
    torch.manual_seed(0)
    model = model_class(config)
    for name, value in generation.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
