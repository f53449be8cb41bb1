"""Known failures of the base model against the script, of its download, and of states to go on from. See failures."""

from __future__ import annotations

from maquette.logs.failure import Failure, Reading

BASE_FAILURES: tuple[Failure, ...] = (
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
)
