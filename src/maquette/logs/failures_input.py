"""Known failures of what was given: pictures, captions, settings, base model, LoRA files. See failures."""

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
        code="LOG014",
        name="base-of-other-family",
        severity="error",
        texts=(
            "size mismatch for",
            "Error(s) in loading state_dict for",
            "unexpected key in SD",
            "mat1 and mat2 shapes cannot be multiplied",
        ),
        patterns=(
            r"KeyError: ['\"](?P<detail>(?:conditioner|cond_stage_model|model\.diffusion_model|time_embed|first_stage_model|"
            r"double_blocks|joint_blocks|text_encoders?|unet)[\w.]{0,120})",
            r"expected input\[[\d, ]{1,40}\] to have (?P<detail>\d{1,5} channels, but got \d{1,5})",
            r"could not load model: (?P<detail>.{1,200})",
            r"The size of tensor a \((?P<detail>\d{1,6}\) must match the size of tensor b \(\d{1,6})\)",
            r"output with shape (?P<detail>\[[\d, ]{1,40}\] doesn't match the broadcast shape \[[\d, ]{1,40}\])",
            r"Cannot load .{0,200} because .{0,200} expected shape (?P<detail>.{1,80})",
        ),
        example="size mismatch for down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
        except_texts=("AdamW", "LoRANetwork", "position_ids", "lora key not loaded", "ERROR lora"),
        summary="The script does not fit the base model.",
        cause=(
            "The base's tensors have other names or sizes than the script expects: it is given a model of another family, or "
            "an option names one that the model is not."
        ),
        remedy=(
            "Run `maquette models inspect FILE` to see the family. Use train_network.py with SD 1.x (and 2.x with --v2), "
            "sdxl_train_network.py with SDXL, flux_train_network.py with FLUX; trust no XL in a name."
        ),
        readings=(
            Reading(
                when="Nine channels",
                signs=(
                    r"\[320, 9, 3, 3\]",
                    r"have 9 channels",
                    r"got 9 channels",
                    r"\[\d{1,3}, 9, \d{1,4}, \d{1,4}\]",
                    r"3x3x9\b",
                    r"inpaint(?:ing)?[\w. -]{0,60}\.(?:safetensors|ckpt)",
                ),
                cause=(
                    "The base is an inpainting model: its U-Net takes 9 channels (picture, mask, masked picture) "
                    "where training gives 4."
                ),
                remedy="Train on the ordinary model that it was made from; the LoRA then works on the inpainting model, too.",
            ),
            Reading(
                when="Eight or five channels",
                signs=(r"\[320, [58], 3, 3\]", r"(?:have|got) [58] channels"),
                cause="The base is a model for editing or depth: its U-Net takes more channels than training gives.",
                remedy="Train on the ordinary model of that family.",
            ),
            Reading(
                when="384 or 2560: an SDXL refiner",
                signs=(
                    r"\[384, |, 384[,\]]|\[1536\]|x2560 and 2816x|\b2560\b.{0,60}\b2816\b|x2816 and 2560x",
                ),
                cause=(
                    "The base (or one of the two) is SDXL's refiner, which is another network: 384 channels where "
                    "the base has 320."
                ),
                remedy="Train on the SDXL base model (sd_xl_base_1.0 or one made from it), without the refiner.",
            ),
            Reading(
                when="2048 against 768 or 1024: SDXL and the script for SD",
                signs=(
                    r"2048\]\) from checkpoint.{0,80}(?:768|1024|1280)\]",
                    r"x(?:768|1024) and 2048x",
                    r"KeyError: ['\"]conditioner",
                    r"conditioner\.embedders",
                ),
                cause=(
                    "The base is SDXL (its cross-attention reads 2048 numbers a token), and the script or model type "
                    "is that of SD 1.x or 2.x."
                ),
                remedy=(
                    "Use sdxl_train_network.py (in the GUI tick “SDXL Model”; elsewhere choose SDXL as the model "
                    "type), at 1024 px."
                ),
            ),
            Reading(
                when="768 or 1024 against 2048: SD and the script for SDXL",
                signs=(
                    r"(?:768|1024)\]\) from checkpoint.{0,80}2048\]",
                    r"x2048 and (?:768|1024|2816)x",
                    r"KeyError: ['\"](?:label_emb|add_embedding)",
                    r"x2048 and 1024x",
                ),
                cause=(
                    "The script or model type is that of SDXL, and the base is SD 1.x or 2.x (or only one of SDXL's "
                    "two text encoders was used)."
                ),
                remedy=(
                    "Use train_network.py with SD 1.x (and --v2 for 2.x); untick “SDXL Model”. Run `maquette models "
                    "inspect FILE` to see the family."
                ),
            ),
            Reading(
                when="768 in the file, 1024 in the model: --v2 on SD 1.x",
                signs=(r"768\]\) from checkpoint.{0,80}1024\]", r"x768 and 1024x"),
                cause=(
                    "--v2 is set (the box “v2” in the GUI), and the base is SD 1.x: 768 numbers a token in the file, "
                    "1024 expected."
                ),
                remedy="Take --v2 and --v_parameterization out (untick “v2” and “v_parameterization”).",
            ),
            Reading(
                when="1024 in the file, 768 in the model: SD 2.x without --v2",
                signs=(r"1024\]\) from checkpoint.{0,80}768\]", r"x1024 and 768x"),
                cause="The base is SD 2.x, and --v2 is not set: 1024 numbers a token in the file, 768 expected.",
                remedy="Add --v2 (and --v_parameterization for the 768-v models); in the GUI tick “v2”.",
            ),
            Reading(
                when="320 against 640: another U-Net",
                signs=(
                    r"\[640, .{0,80} from checkpoint.{0,80}\[320, ",
                    r"\[320, .{0,80} from checkpoint.{0,80}\[640, ",
                    r"\[(?:320|640|1280)\]\) from checkpoint.{0,80}\[(?:320|640|1280)\]",
                    r"x(?:320|640) and (?:640|320)x",
                ),
                cause=(
                    "The layers lie at other places (320 channels against 640): one of base and script is SDXL, the "
                    "other SD 1.x or 2.x."
                ),
                remedy=(
                    "Run `maquette models inspect FILE`, and use sdxl_train_network.py with SDXL, train_network.py "
                    "with SD 1.x and 2.x."
                ),
            ),
            Reading(
                when="3072, 4096: FLUX, SD 3 or another transformer",
                signs=(r"\b3072\b|\b4096\b|double_blocks|joint_blocks|x1536 and|\b15360\b",),
                cause=(
                    "One side is a transformer (FLUX, SD 3 and their like), the other is not, or its text encoders "
                    "are those of another release."
                ),
                remedy=(
                    "Run `maquette models inspect FILE`; use flux_train_network.py or sd3_train_network.py with all "
                    "files that it asks for (clip_l, t5xxl, ae)."
                ),
            ),
            Reading(
                when="77 against 154 or 231: long captions",
                signs=(
                    r"tensor [ab] \(77\).{0,40}\((?:154|231|150|225|227)\)|\((?:154|231|150|225|227)\).{0,60}\(77\)",
                ),
                cause=(
                    "Text of two lengths met: --max_token_length is 150 or 225 for one part and 75 for another, "
                    "often through caches written before."
                ),
                remedy=(
                    "Use one --max_token_length throughout, and delete cached text-encoder outputs (*_te.npz, "
                    "*_te_outputs.npz)."
                ),
            ),
            Reading(
                when="One rank against another: weights to go on from",
                signs=(r"lora_(?:unet|te|down|up)|lora_A|lora_B|network_weights",),
                cause="The LoRA to go on from has another rank or belongs to another family than this run.",
                remedy=(
                    "Give the same --network_dim as the LoRA's own (`maquette lora inspect FILE` says it), or "
                    "--dim_from_weights."
                ),
            ),
            Reading(
                when="OneTrainer's “could not load model”",
                signs=(r"could not load model",),
                cause="OneTrainer tried every way it has for the chosen model type, and none fits the file: {detail}",
                remedy=(
                    "Run `maquette models inspect FILE` and choose that family as the model type; FLUX wants the "
                    "whole diffusers folder or hub name."
                ),
            ),
        ),
        more="“AnythingXL_inkBase” is an SD 1.5 file of 2.0 GB whatever its name says.",
        source=(
            "field notes of a character LoRA on Apple silicon, discovery 1; sd-scripts#404, sd-scripts#1226, sd-scripts#2309, "
            "Lora-Training-in-Comfy#12, diffusers#7239, diffusers#12494, OneTrainer#275; messages of PyTorch"
        ),
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
        code="LOG017",
        name="base-not-downloaded",
        severity="error",
        texts=(
            "perhaps file name is wrong",
            "Cannot access gated repo",
            "GatedRepoError",
            "RepositoryNotFoundError",
            "LocalEntryNotFoundError",
            "OfflineModeIsEnabled",
            "outgoing traffic has been disabled",
            "Can't load tokenizer for",
            "Can't load the configuration of",
            "Can't load the model for",
            "Can't load config for",
            "is not a valid model identifier",
            "Repo id must be in the form",
            "Repo id must use alphanumeric",
            "WinError 10054",
            "WinError 10060",
            "is not a local folder and is not a valid model",
            "We couldn't connect to 'https://huggingface.co'",
            "Temporary failure in name resolution",
            "getaddrinfo failed",
            "Connection aborted",
            "Read timed out",
            "CERTIFICATE_VERIFY_FAILED",
            "ProxyError",
        ),
        patterns=(
            r"40[134] Client Error(?P<detail>.{0,120})",
            r"(?:couldn't|could not|can't) (?:connect|load|reach).{0,80}huggingface\.co",
            r"huggingface\.co.{0,160}(?:Max retries|Name or service not known|timed out|NameResolutionError)",
        ),
        summary="A model could not be had from the Hugging Face hub.",
        cause=(
            "The base or tokenizer was to be downloaded and was not: a wrong path is taken for a hub name, "
            "the model needs a login (gated), or there is no network."
        ),
        remedy=(
            "For a file: correct its path. For a gated model: accept its terms on its page, then "
            "huggingface-cli login. Without a "
            "network: download it once elsewhere and set HF_HUB_OFFLINE=1; pass --tokenizer_cache_dir."
        ),
        readings=(
            Reading(
                when="The tokenizer",
                signs=(r"Can't load tokenizer|CLIPTokenizer|T5Tokenizer",),
                cause=(
                    "The tokenizer is fetched from the hub at the first start, and was not reached: no network, a blocked "
                    "address, or a folder named like it (openai) in the trainer's folder."
                ),
                remedy=(
                    "Start once with a network and --tokenizer_cache_dir=FOLDER, then that folder serves offline; where the hub "
                    "is blocked set HF_ENDPOINT to a mirror. Remove a local folder named openai."
                ),
            ),
            Reading(
                when="A gated model",
                signs=(r"gated|401 Client|403 Client|GatedRepo|awaiting a review|restricted",),
                cause="The model wants a login: its terms were not accepted with the account in use, or no account was given.",
                remedy=(
                    "Accept its terms on its page, make a token (read) and run huggingface-cli login on that machine "
                    "(or set HF_TOKEN)."
                ),
            ),
            Reading(
                when="A path taken for a hub name",
                signs=(
                    r"perhaps file name is wrong|not a valid model identifier|RepositoryNotFound|404 Client|Repo id must",
                ),
                cause=(
                    "What was given as the base is neither a file on that machine nor a model of the hub: a path "
                    "with an error is taken for a hub name."
                ),
                remedy=(
                    "Correct the path (ending included) or the hub name; `maquette models inspect PATH` says whether "
                    "it is there."
                ),
            ),
        ),
        source="sd-scripts 48d368fa, read; sd-scripts#183, sd-scripts#1792, lora-scripts#639, lora-scripts#270",
    ),
    Failure(
        code="LOG018",
        name="constant-with-warmup",
        severity="error",
        texts=("does not require `num_warmup_steps`",),
        summary="A constant learning rate was asked for together with a warm-up.",
        cause="sd-scripts refuses lr_scheduler=constant with lr_warmup_steps, after the model was loaded.",
        remedy="Use --lr_scheduler=constant_with_warmup, or leave --lr_warmup_steps out.",
        source="sd-scripts 48d368fa, measured",
    ),
    Failure(
        code="LOG019",
        name="resume-failed",
        severity="error",
        texts=(
            "doesn't match the size of optimizer's group",
            "loaded state dict has a different number of parameter groups",
            "initial_step is specified but not resuming",
            "steps from the state is ignored",
            "size mismatch for LoRANetwork",
            "Error(s) in loading state_dict for LoRANetwork",
        ),
        patterns=(r"FileNotFoundError.{0,300}-state[\\/'\"]",),
        summary="The run could not go on from the saved state.",
        cause=(
            "The state was saved by a run with another rank, optimizer or set of trained parts, its folder "
            "is gone, or the steps to skip were given twice."
        ),
        remedy=(
            "Resume with exactly the settings that saved the state, and give --resume the folder "
            "NAME-00000N-state; else start anew with --network_weights=LORA."
        ),
        more="Numbers after a resume that restarts the schedule do not equal those of an uninterrupted run.",
        source="sd-scripts#1359, kohya_ss#2771, ai-toolkit#1058; sd-scripts 48d368fa, read",
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
                when="Cached text-encoder outputs",
                signs=(r"network for Text Encoder cannot",),
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
