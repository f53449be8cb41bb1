"""Known failures of what was given: pictures, captions, settings, LoRA files. See failures."""

from __future__ import annotations

from maquette.logs.failure import Failure, Reading

INPUT_FAILURES: tuple[Failure, ...] = (
    Failure(
        code="LOG001",
        name="log-no-data-found",
        severity="error",
        texts=(
            "No data found",
            "num_samples should be a positive integer value, but got num_samples=0",
            "No images found",
            "no images / 画像がありません",
            "no image files",
            "not enough images",
        ),
        patterns=(r"ZeroDivisionError: (?P<detail>(?:integer |float )?(?:division|modulo)[ \w]{0,20})",),
        summary="The trainer found no pictures.",
        cause=(
            "--train_data_dir must be the parent of folders named N_name; pictures directly in it, and "
            "folders without a number, are not seen."
        ),
        readings=(
            Reading(
                when="A division by zero",
                signs=(r"ZeroDivisionError",),
                cause=(
                    "Something was divided by the number of pictures or steps, and that is zero: no picture was found "
                    "(--train_data_dir must be the parent of folders named N_name), or fewer than one batch."
                ),
                remedy=(
                    "See which folder the log names: put the pictures into a folder such as 10_mycharacter, give its parent, "
                    "and check that with `maquette check FOLDER`."
                ),
            ),
        ),
        remedy=(
            "Put the pictures into a folder such as 10_mycharacter and give its parent, or use a dataset "
            "TOML whose image_dir is the folder itself."
        ),
        more="The run ends at once, before a model loads.",
        source=(
            "sd-scripts 48d368fa, read; kohya_ss#3374, kohya_ss#3372, kohya_ss#53; field notes of a pixel-art LoRA (flat "
            "folder)"
        ),
    ),
    Failure(
        code="LOG002",
        name="resolution-not-text",
        severity="error",
        texts=("'int' object has no attribute 'split'",),
        summary="The resolution was written as a number where the trainer takes text.",
        cause=(
            "In a --config_file the line `resolution = 512` becomes a number, and the trainer splits text at"
            " a comma."
        ),
        remedy=(
            'Write resolution = "512,512" with quotation marks in the --config_file. (In a --dataset_config '
            "a plain 512 is right.)"
        ),
        source="field notes of a pixel-art LoRA on a rented GPU; sd-scripts#952, SimpleTuner#988",
    ),
    Failure(
        code="LOG012",
        name="lora-keys-not-loaded",
        severity="error",
        example="lora key not loaded: lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
        patterns=(r"lora key not loaded: (?P<detail>\S{1,300})", r"\bERROR lora (?P<detail>.{1,300})"),
        ends_run=False,
        summary="The drawing program could not apply a part of the LoRA.",
        cause=(
            "ComfyUI found no place for {detail}: the LoRA belongs to another model family, or names its "
            "layers in another way. It then draws with what is left, without an error."
        ),
        remedy=(
            "Check the file: `maquette check FILE.safetensors` says for which family it is; load it over a "
            "base of that family."
        ),
        more=(
            "ComfyUI answers success even when not one key fits (measured with an SDXL LoRA on SD 1.5). "
            "“ERROR lora” means that a layer was found but has another size."
        ),
        source="ComfyUI 0.3.64, measured; OneTrainer#885, ai-toolkit#67, ComfyUI#1144",
    ),
    Failure(
        code="LOG013",
        name="picture-unreadable",
        severity="error",
        texts=(
            "cannot identify image file",
            "image file is truncated",
            "Truncated File Read",
            "broken data stream when reading image",
            "DecompressionBomb",
        ),
        patterns=(r"Error loading file: (?P<detail>.{1,400}\.(?:png|jpe?g|webp|bmp|gif|avif|jxl))",),
        summary="A picture could not be read.",
        cause=(
            "A picture is damaged, cut off or not what its ending says ({detail}). Trainers notice only when"
            " they reach it, often in the middle of caching."
        ),
        remedy=(
            "Repair or remove the picture named near that line; `maquette check` on the folder finds all of "
            "them at once."
        ),
        source="kohya_ss#1574; sd-scripts 48d368fa, read",
    ),
    Failure(
        code="LOG015",
        name="captions-cut-off",
        severity="warning",
        texts=("Token indices sequence length is longer than",),
        summary="A caption was longer than what the text encoder reads.",
        cause=(
            "CLIP reads 75 tokens; the end of longer captions is lost unless --max_token_length allows 150 "
            "or 225."
        ),
        remedy="Shorten the caption (what matters first), or pass --max_token_length=150 or 225.",
        more=(
            "The line comes from the tokenizer while it still holds the whole text: with --max_token_length "
            "set, it may be harmless."
        ),
        source="message of transformers' CLIP tokenizer; sd-scripts 48d368fa, read",
    ),
    Failure(
        code="LOG016",
        name="nan-in-latents",
        severity="error",
        ends_run=False,
        texts=(
            "NaN detected in latents",
            "NaN found in latents",
            "NaN detected in text encoder outputs",
            "tensor with all NaNs was produced",
            "Training loss became NaN",
            "loss is NaN",
        ),
        summary="The encoded picture holds no numbers (NaN).",
        cause=(
            "The VAE overflowed in half precision, as SDXL's does in fp16, and so do VAEs on Apple's GPU. "
            "Sometimes the base file's VAE itself is damaged."
        ),
        remedy=(
            "Add --no_half_vae, or give a repaired VAE (--vae sdxl-vae-fp16-fix). Delete caches (*.npz) that"
            " were written before."
        ),
        readings=(
            Reading(
                when="The loss",
                signs=(r"loss (?:became|is) NaN",),
                cause=(
                    "The loss became NaN: a rate too high for the precision, latents that hold NaN, or fp16 where "
                    "bf16 is needed."
                ),
                remedy="Use bf16 or float32, a tenth of the rate, and delete cached latents; take the last file saved before it.",
            ),
        ),
        more=(
            "Without cached latents sd-scripts only prints “NaN found in latents, replacing with zeros” and "
            "trains on black."
        ),
        source="sd-scripts#653, sd-scripts#881, diffusers#7563; field notes of a character LoRA, pitfall 3",
    ),
    Failure(
        code="LOG018",
        name="constant-with-warmup",
        severity="error",
        texts=("does not require `num_warmup_steps`", "requires `num_warmup_steps`"),
        readings=(
            Reading(
                when="A schedule that needs a warm-up",
                signs=(r" requires `num_warmup_steps`",),
                cause="This schedule needs a number of warm-up steps, and none was given.",
                remedy="Add --lr_warmup_steps (0 is allowed; a twentieth of the steps is usual).",
            ),
        ),
        summary="A constant learning rate was asked for together with a warm-up.",
        cause="sd-scripts refuses lr_scheduler=constant with lr_warmup_steps, after the model was loaded.",
        remedy="Use --lr_scheduler=constant_with_warmup, or leave --lr_warmup_steps out.",
        source="sd-scripts 48d368fa, measured",
    ),
    Failure(
        code="LOG020",
        name="stale-cache",
        severity="error",
        texts=("BadZipFile", "npz is old format", "stack expects each tensor to be equal size"),
        patterns=(r"Error loading file: (?P<detail>.{1,400}\.(?:npz|safetensors))",),
        summary="A cached latent is damaged or older than its picture.",
        cause=(
            "sd-scripts keeps NAME.npz beside the pictures and trusts it when its shape fits ({detail}): an "
            "interrupted run leaves broken ones, replaced pictures leave old ones."
        ),
        remedy="Delete the *.npz files beside the pictures and start again; they are written anew.",
        more=(
            "A picture replaced by another of the same size is not noticed at all: delete caches after every"
            " change of pictures."
        ),
        source="kohya_ss#1629; sd-scripts 48d368fa, read (cache keys check the shape)",
    ),
    Failure(
        code="LOG023",
        name="folders-left-out",
        severity="warning",
        example="ignore directory without repeats: extras",
        patterns=(
            r"ignore directory without repeats[^:]{0,120}: ?(?P<detail>\S{1,200})",
            r"ignore (?:duplicated )?subset with image_dir=['\"](?P<detail>[^'\"]{1,300})",
            r"not directory: (?P<detail>\S{1,300})",
        ),
        summary="The trainer left out a folder of pictures.",
        cause=(
            "{detail} was not used: its name has no repeat count, it holds no pictures (image_dir is not "
            "searched below), its num_repeats is 0, or it is named twice."
        ),
        remedy=(
            "Name folders N_name, and give the TOML's image_dir the folder that holds the pictures "
            "themselves, once."
        ),
        source="sd-scripts 48d368fa, measured (image_dir is not recursive, a repeated one is dropped)",
    ),
    Failure(
        code="LOG024",
        name="captions-not-found",
        severity="warning",
        example="No caption file found for 15 images",
        patterns=(
            r"No caption file found for (?P<detail>\d{1,9}) images",
            r"neither caption file nor class tokens are found",
        ),
        summary="Pictures were trained without their captions.",
        cause=(
            "sd-scripts found no caption file for pictures (count or place: {detail}), and goes on with the "
            "folder's name or with nothing. Its default ending is .caption: .txt files are then not seen."
        ),
        remedy=(
            'Pass --caption_extension=".txt" (or caption_extension in the TOML), and see that every picture '
            "has its file."
        ),
        source="sd-scripts 48d368fa, measured; kohya_ss#1370 (captions ignored)",
    ),
    Failure(
        code="LOG025",
        name="caption-unreadable",
        severity="error",
        texts=("illegal char in file (not UTF-8)", "caption file is empty"),
        summary="A caption file is empty or not UTF-8.",
        cause="sd-scripts stops at a caption that it cannot read.",
        remedy=(
            "Save the named file as UTF-8 with at least one line; `maquette check` on the folder lists all "
            "of them."
        ),
        source="sd-scripts 48d368fa, read",
    ),
    Failure(
        code="LOG026",
        name="options-conflict",
        severity="error",
        texts=(
            "either color_aug or random_crop cannot be used",
            "network for Text Encoder cannot be trained with caching",
            "Attempting to unscale FP16 gradients",
            "adaptive_noise_scale requires noise_offset",
            "requires mixed precision=",
            "when caching Text Encoder output, either",
            "should be True when caching text encoder outputs",
        ),
        summary="Two options exclude each other.",
        cause=(
            "Cached latents allow neither colour augmentation nor random crops; cached text-encoder outputs "
            "allow no training of the text encoder; weights in fp16 allow no fp16 gradient scaling."
        ),
        remedy=(
            "Drop one of the two: --color_aug and --random_crop, or --cache_latents; add "
            "--network_train_unet_only to cached text outputs; --mixed_precision=bf16 in place of "
            "--full_fp16."
        ),
        readings=(
            Reading(
                when="fp16 gradients",
                signs=(r"unscale FP16",),
                cause=(
                    "The trained weights themselves are in fp16 (--full_fp16, or a LoRA loaded in half), and the "
                    "scaler takes none such."
                ),
                remedy="Take --full_fp16 out, or use --mixed_precision=bf16 with --full_bf16 on a card that has bf16.",
            ),
            Reading(
                when="Full precision of one kind, mixed of another",
                signs=(r"requires mixed precision=",),
                cause="--full_fp16, --full_bf16 and fp8 need the same kind as --mixed_precision.",
                remedy=(
                    "Set --mixed_precision as the line says (fp16 with --full_fp16, bf16 with --full_bf16), or take "
                    "the other out."
                ),
            ),
            Reading(
                when="Captions that change, and cached outputs",
                signs=(r"when caching Text Encoder output, either",),
                cause="Text-encoder outputs are cached, so captions cannot be shuffled or dropped from step to step.",
                remedy=(
                    "Take --shuffle_caption, --caption_dropout_rate and --token_warmup_step out, or "
                    "--cache_text_encoder_outputs."
                ),
            ),
            Reading(
                when="Cached text-encoder outputs",
                signs=(r"network for Text Encoder cannot|should be True when caching",),
                cause="Text-encoder outputs are cached, so the text encoder cannot be trained.",
                remedy="Add --network_train_unet_only, or leave --cache_text_encoder_outputs out.",
            ),
            Reading(
                when="Augmentation",
                signs=(r"color_aug or random_crop",),
                cause="Latents are cached, so colours and crops cannot change from step to step.",
                remedy="Drop --color_aug and --random_crop, or --cache_latents.",
            ),
            Reading(
                when="Noise offset",
                signs=(r"adaptive_noise_scale",),
                cause="--adaptive_noise_scale changes --noise_offset, and there is none.",
                remedy="Add --noise_offset (0.03 to 0.1), or leave --adaptive_noise_scale out.",
            ),
        ),
        source="sd-scripts#886 (conflicts found only after loading); sd-scripts 48d368fa, read",
    ),
    Failure(
        code="LOG027",
        name="regularization-left-over",
        severity="hint",
        texts=("some of reg images are not used",),
        summary="Some regularization pictures were never shown.",
        cause=(
            "sd-scripts shows as many regularization pictures as training items (pictures × repeats) and "
            "leaves the rest out."
        ),
        remedy=(
            "Nothing is lost. For variety raise the repeats, or draw only as many as there are training "
            "items."
        ),
        more="23 pictures × 10 repeats take up to 230 regularization pictures; the epoch then has 460 items.",
        source="sd-scripts 48d368fa, measured (golden numbers repeats.json)",
    ),
)
