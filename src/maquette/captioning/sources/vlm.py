"""Vision-language models in this process, through transformers: Qwen2-VL and its successors, Florence-2, and others.

A model is a folder or a hub name whose architecture transformers knows for "image text to text"; its own code is never run
and only safetensors are read. Pictures are prepared by the Pillow processors, so torchvision is not needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.captioning.records import Answer
from maquette.captioning.sources.looking import LONGEST_SIDE_PX, load_rgb
from maquette.captioning.sources.source import Ask, Context, Source
from maquette.captioning.strategies import instructions
from maquette.errors import ConfigError, ModelError, Problem

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_MODEL = "Qwen/Qwen2.5-VL-3B-Instruct"
TASK_TOKENS = {"detailed": "<MORE_DETAILED_CAPTION>", "style": "<DETAILED_CAPTION>"}
"""What models that take tasks instead of instructions (Florence-2) are asked, by strategy."""
PLAIN_TASK = "<CAPTION>"
SHOW = "Caption this picture."


class VisionModel:
    """Asks a model loaded here, several pictures at once."""

    name = "vlm"
    is_parallel = False
    is_model = True
    is_literal = False
    from_existing = False
    learns_from_refusal = False
    sees_pictures = True

    def __init__(self, name: str, context: Context) -> None:
        options = context.options
        self._name = name
        self._processor, self._model = load_model(name, options.device)
        self.takes_tasks = hasattr(self._processor, "task_prompts_without_inputs")
        self.batch_size = options.batch_size or 4
        self._system = "\n".join(
            text for text in (instructions(context.strategy, context.profile), options.instructions) if text
        )
        self._task = TASK_TOKENS.get(context.strategy.name, PLAIN_TASK)
        self._longest_px = options.longest_side or LONGEST_SIDE_PX
        self._temperature = options.temperature or 0.0
        self._max_new_tokens = options.max_new_tokens or 200

    def ask(self, asks: Sequence[Ask]) -> list[Answer]:
        images = [load_rgb(ask.target.picture, self._longest_px) for ask in asks]
        sound = [image for image in images if not isinstance(image, Problem)]
        said = iter(self._generate(sound) if sound else ())
        return [
            Answer(refused=f"the picture is {image.given}") if isinstance(image, Problem) else next(said)
            for image in images
        ]

    def _generate(self, images: Sequence[Image.Image]) -> list[Answer]:
        import torch

        inputs = self._inputs(images).to(self._model.device)
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        sampling = (
            {"do_sample": True, "temperature": self._temperature}
            if self._temperature
            else {"do_sample": False}
        )
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, max_new_tokens=self._max_new_tokens, **sampling)
        # A decoder repeats the question first; an encoder-decoder begins with one start token.
        num_given = 1 if self._model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        tokens = tokens[:, num_given:]
        texts = self._processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [self._answer(text, row) for text, row in zip(texts, tokens, strict=True)]

    def _answer(self, text: str, tokens: Any) -> Answer:
        """An answer whose end comes only with the last token allowed, or not at all, was cut off in the middle."""
        ends = self._model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends]) - {None}
        said = tokens.tolist()
        length = next((place for place, token in enumerate(said) if token in ends), len(said))
        if ends and length >= self._max_new_tokens - 1:
            return Answer(text=text, refused=f"too long: cut off after {self._max_new_tokens} tokens")
        return Answer(text=text)

    def _inputs(self, images: Sequence[Image.Image]) -> Any:
        """Return the model's inputs for one question about each picture."""
        if self.takes_tasks:
            return self._processor(
                images=list(images), text=[self._task] * len(images), return_tensors="pt", padding=True
            )
        prompt = self._prompt()
        return self._processor(
            images=[[image] for image in images],
            text=[prompt] * len(images),
            return_tensors="pt",
            padding=True,
        )

    def _prompt(self) -> str:
        """Return the question in the model's own chat form, or plainly for a model that has none."""
        picture = [{"type": "image"}, {"type": "text", "text": SHOW}]
        chat = [
            {"role": "system", "content": [{"type": "text", "text": self._system}]},
            {"role": "user", "content": picture},
        ]
        alone = [
            {"role": "user", "content": [picture[0], {"type": "text", "text": f"{self._system}\n{SHOW}"}]}
        ]
        if not getattr(self._processor, "chat_template", None):
            token = getattr(self._processor, "image_token", "")
            return f"{token}\n{self._system}\n{SHOW}\n"
        for messages in (chat, alone):  # some templates know no system message
            try:
                return str(
                    self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
                )
            except Exception as error:  # jinja's errors, and templates' own
                failure = error
        raise ModelError(
            Problem(
                self._name,
                f"its chat template fails ({failure})",
                "a model for chats with pictures",
                "Choose another.",
            )
        )

    def describe(self) -> Mapping[str, Any]:
        return {
            "source": self.name,
            "model": self._name,
            "system": self._task if self.takes_tasks else self._system,
            "settings": [self._longest_px, self._temperature, self._max_new_tokens],
        }

    def close(self) -> None:
        import gc

        self._model = None
        gc.collect()


def open_source(argument: str, context: Context) -> Source:
    """Return the source for the model `argument` (else --model, else the default). Raises ModelError."""
    source = VisionModel(argument or context.options.model or DEFAULT_MODEL, context)
    if source.takes_tasks and context.options.instructions is not None:
        raise ConfigError(
            Problem(
                "--instructions",
                "given for a model that takes fixed tasks only",
                "a model that takes instructions (Qwen-VL)",
                "Leave it out, or choose another model.",
            )
        )
    return source


def load_model(name: str, device: str | None) -> tuple[Any, Any]:
    """Return the processor and the model of a folder or hub name, ready to generate. Raises ModelError."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    path = str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name
    place = device or (
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    try:
        with warnings.catch_warnings(), _no_bars():
            warnings.simplefilter("ignore")
            config = AutoConfig.from_pretrained(path)
            processor = load_processor(path, config)
            model = AutoModelForImageTextToText.from_pretrained(
                path, dtype="auto" if place != "cpu" else torch.float32, use_safetensors=True
            )
            return processor, model.to(place).eval()
    except Exception as error:  # the library raises OSError, ValueError, KeyError, ImportError and its own
        raise ModelError(
            Problem(
                name,
                f"cannot be loaded as a vision-language model ({_first_line(error)})",
                "a folder or hub name of a model that transformers knows for pictures and text, in safetensors",
                "Check the name; or serve the model with vLLM, Ollama or LM Studio and use --source server.",
            )
        ) from error


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep the library's progress bars off the terminal."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def load_processor(path: str, config: Any) -> Any:
    """Return a model's processor for still pictures, made of its Pillow image processor and its tokenizer.

    Processors that also take videos insist on a video processor, which needs torchvision; none is given one here, and
    no video is ever shown.
    """
    from transformers import AutoImageProcessor, AutoTokenizer
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    tokenizer = AutoTokenizer.from_pretrained(path)
    images = AutoImageProcessor.from_pretrained(path, backend="pil")
    base = PROCESSOR_MAPPING[type(config)]

    def check(self: Any, argument: str, value: Any) -> Any:
        allowed = value is None and argument == "video_processor"
        return None if allowed else base.check_argument_for_proper_class(self, argument, value)

    still: Any = type(base.__name__, (base,), {"check_argument_for_proper_class": check})
    parts = {"image_processor": images, "tokenizer": tokenizer}
    settings, _ = still.get_processor_dict(path)
    processor = still.from_args_and_dict([parts.get(name) for name in base.get_attributes()], settings)
    if not getattr(processor, "chat_template", None):
        processor.chat_template = tokenizer.chat_template
    tokenizer.padding_side = "left"  # answers of a batch begin where the questions end
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]
