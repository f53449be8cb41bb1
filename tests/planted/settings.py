"""Faults of the settings: rates, sizes, augmentation, options among themselves."""

from __future__ import annotations

from tests.planted.case import Case, close_call, fault
from tests.planted.clean import TRIGGER
from tests.planted.model import mark_as_v


def change(case: Case, old: str, new: str) -> None:
    """Replace an option of the command."""
    case.edit(case.script, old, new)


def add(case: Case, options: str) -> None:
    """Add options to the command."""
    case.edit(case.script, "--sdpa", f"--sdpa {options}")


def drop(case: Case, *options: str) -> None:
    """Take whole lines out of the command."""
    for option in options:
        case.edit(case.script, f"  {option} \\\n", "")


@fault("SET001", "alpha twice the rank")
def alpha_above_rank(case: Case) -> None:
    change(case, "--network_alpha=16", "--network_alpha=64")


@fault("SET001", "sd-scripts' default alpha of 1")
def default_alpha(case: Case) -> None:
    drop(case, "--network_alpha=16")


@close_call("SET001", "alpha a little above half the rank")
def alpha_above_half(case: Case) -> None:
    change(case, "--network_alpha=16", "--network_alpha=20")


@fault("SET002", "no learning rate at all")
def no_rate(case: Case) -> None:
    drop(case, "--learning_rate=1e-4", "--unet_lr=1e-4", "--text_encoder_lr=5e-5")


@fault("SET002", "an optimizer that finds its rate, with AdamW's by default", start="project")
def rate_of_nobody(case: Case) -> None:
    case.edit(case.config, "learning_rate = 1e-4\n", 'optimizer = "prodigy"\n')


@close_call("SET002", "a low rate that still trains")
def low_rate(case: Case) -> None:
    change(case, "--unet_lr=1e-4", "--unet_lr=6e-5")


@fault("SET003", "2e-4 with AdamW8bit, no warm-up and batch 1")
def rate_too_high(case: Case) -> None:
    change(case, "--unet_lr=1e-4", "--unet_lr=2e-4")
    change(case, "--optimizer_type=AdamW", "--optimizer_type=AdamW8bit")


@close_call("SET003", "exactly 1e-4 with AdamW8bit, no warm-up and batch 1")
def rate_at_the_line(case: Case) -> None:
    change(case, "--unet_lr=1e-4", "--unet_lr=0.0001")
    change(case, "--optimizer_type=AdamW", "--optimizer_type=AdamW8bit")


@fault("SET004", "alpha of 0.875 of the rank in a short run")
def high_alpha(case: Case) -> None:
    change(case, "--network_alpha=16", "--network_alpha=28")


@close_call("SET004", "alpha of 0.72 of the rank")
def alpha_below_the_line(case: Case) -> None:
    change(case, "--network_alpha=16", "--network_alpha=23")


@fault("SET005", "300 of 1,000 steps are warm-up")
def long_warmup(case: Case) -> None:
    add(case, "--lr_warmup_steps=300")


@close_call("SET005", "200 of 1,000 steps are warm-up")
def warmup_at_the_line(case: Case) -> None:
    add(case, "--lr_warmup_steps=200")


@fault("SET006", "8 cycles in 5 epochs")
def many_restarts(case: Case) -> None:
    change(case, "--lr_scheduler=cosine", "--lr_scheduler=cosine_with_restarts --lr_scheduler_num_cycles=8")


@close_call("SET006", "5 cycles in 5 epochs")
def restart_each_epoch(case: Case) -> None:
    change(case, "--lr_scheduler=cosine", "--lr_scheduler=cosine_with_restarts --lr_scheduler_num_cycles=5")


@fault("SET007", "rank 128 for 20 pictures")
def large_rank(case: Case) -> None:
    change(case, "--network_dim=32", "--network_dim=128")
    change(case, "--network_alpha=16", "--network_alpha=64")


@close_call("SET007", "rank 64 for 20 pictures")
def rank_at_the_line(case: Case) -> None:
    change(case, "--network_dim=32", "--network_dim=64")
    change(case, "--network_alpha=16", "--network_alpha=32")


def _rank_256(case: Case, epochs: int) -> None:
    """Of a set of pictures that is not here, so that their number says nothing."""
    change(case, "--network_dim=32", "--network_dim=256")
    change(case, "--network_alpha=16", "--network_alpha=128")
    change(case, "dataset/train", "/elsewhere/thousands")
    change(case, "--max_train_epochs=5", f"--max_train_epochs={epochs}")


@fault("SET008", "rank 256 for 12 epochs")
def rank_256_short(case: Case) -> None:
    _rank_256(case, 12)


@close_call("SET008", "rank 256 for 16 epochs")
def rank_256_long(case: Case) -> None:
    _rank_256(case, 16)


@fault("SET009", "flip augmentation of a subject with a glove on one hand")
def flipped(case: Case) -> None:
    add(case, "--flip_aug")


@close_call("SET009", "flip augmentation switched off in a dataset TOML", start="toml")
def flip_is_off(case: Case) -> None:
    case.edit(case.toml, "keep_tokens = 1\n", "keep_tokens = 1\nflip_aug = false\n")


@fault("SET010", "colour augmentation of a subject with red hair")
def coloured(case: Case) -> None:
    drop(case, "--cache_latents")
    add(case, "--color_aug")


@close_call("SET010", "colour augmentation where the profile names no colours")
def no_colours(case: Case) -> None:
    coloured(case)
    assert case.profile is not None
    appearance = '["spiky red hair", "white shirt", "black pants", "pale skin"]'
    case.edit(case.profile, appearance, '["spiky hair", "freckles"]')


@fault("SET011", "the text encoder at the U-Net's rate")
def same_rates(case: Case) -> None:
    change(case, "--text_encoder_lr=5e-5", "--text_encoder_lr=1e-4")


@close_call("SET011", "the text encoder a little below the U-Net's rate")
def nearly_the_same_rates(case: Case) -> None:
    change(case, "--text_encoder_lr=5e-5", "--text_encoder_lr=8e-5")


@fault("SET012", "random crops of cached latents")
def crop_of_cached(case: Case) -> None:
    add(case, "--random_crop")


@fault("SET012", "steps and epochs in a project", start="project")
def steps_and_epochs(case: Case) -> None:
    case.edit(case.config, "steps = 1000", "steps = 1000\nepochs = 5")


@fault("SET012", "an average of weights that the optimizer averages already", start="project")
def averaged_twice(case: Case) -> None:
    told = '[training]\noptimizer = "adamwschedulefree"\nema_decay = 0.99'
    case.edit(case.config, "[training]", told)
    case.edit(case.config, 'lr_scheduler = "cosine"', 'lr_scheduler = "constant"')


@fault("SET014", "a schedule for an optimizer that follows none", start="project")
def schedule_of_none(case: Case) -> None:
    case.edit(case.config, "[training]", '[training]\noptimizer = "adamwschedulefree"')


@close_call("SET014", "a schedule for Adafactor without relative steps", start="project")
def schedule_of_adafactor(case: Case) -> None:
    told = '[training]\noptimizer = "adafactor"\noptimizer_args = ["relative_step=False"]'
    case.edit(case.config, "[training]", told)


@close_call("SET012", "cached latents without random crops, with full bf16 under bf16")
def full_bf16(case: Case) -> None:
    add(case, "--full_bf16")


@fault("SET013", "a warm-up with a constant rate")
def constant_with_warmup(case: Case) -> None:
    change(case, "--lr_scheduler=cosine", "--lr_scheduler=constant --lr_warmup_steps=100")


@close_call("SET013", "a warm-up with constant_with_warmup")
def constant_that_warms_up(case: Case) -> None:
    change(case, "--lr_scheduler=cosine", "--lr_scheduler=constant_with_warmup --lr_warmup_steps=100")


@fault("SET014", "xformers and SDPA at once")
def two_attentions(case: Case) -> None:
    add(case, "--xformers")


@fault("SET014", "cycles without restarts")
def cycles_without_restarts(case: Case) -> None:
    add(case, "--lr_scheduler_num_cycles=3")


@fault("SET014", "a Huber threshold with squared errors")
def threshold_of_squares(case: Case) -> None:
    add(case, "--loss_type=l2 --huber_c=0.2")


@fault("SET014", "a shift of timesteps that are drawn evenly", start="project")
def shift_of_even_timesteps(case: Case) -> None:
    case.edit(case.config, "[objective]", "[objective]\ntimestep_shift = 2.0")


@close_call("SET014", "a Huber threshold with a Huber loss, and defaults that a program wrote out")
def threshold_of_huber(case: Case) -> None:
    add(case, "--loss_type=huber --huber_c=0.2 --multires_noise_discount=0.3")


@close_call("SET014", "the U-Net alone, without a text encoder rate")
def unet_only(case: Case) -> None:
    drop(case, "--text_encoder_lr=5e-5")
    add(case, "--network_train_unet_only")


@fault("SET015", "a number written out in letters")
def number_in_letters(case: Case) -> None:
    add(case, "--clip_skip=two")


@close_call("SET015", "a number behind a space")
def number_behind_a_space(case: Case) -> None:
    change(case, "--network_dim=32", "--network_dim 32")


@fault("SET016", "a misspelt option")
def misspelt(case: Case) -> None:
    change(case, "--lr_scheduler=cosine", "--lr_schedular=cosine")


@close_call("SET016", "an option cut short, as argparse allows")
def cut_short(case: Case) -> None:
    change(case, "--max_train_epochs=5", "--max_train_e=5")


@fault("SET017", "the seed twice")
def seed_twice(case: Case) -> None:
    add(case, "--seed=7")


@close_call("SET017", "the seed again in a comment")
def seed_in_a_comment(case: Case) -> None:
    change(case, "set -e\n", "set -e\n# --seed=7 was worse\n")


@fault("SET018", "both rates are 0")
def rates_of_zero(case: Case) -> None:
    change(case, "--unet_lr=1e-4", "--unet_lr=0")
    change(case, "--text_encoder_lr=5e-5", "--text_encoder_lr=0")


@close_call("SET018", "the text encoder's rate is 0")
def frozen_text_encoder(case: Case) -> None:
    change(case, "--text_encoder_lr=5e-5", "--text_encoder_lr=0")


@fault("SET019", "a checkpoint every 500 of 1,000 steps")
def rare_checkpoints(case: Case) -> None:
    change(case, "--save_every_n_steps=200", "--save_every_n_steps=500")


@close_call("SET019", "a checkpoint every epoch of five")
def checkpoint_each_epoch(case: Case) -> None:
    change(case, "--save_every_n_steps=200", "--save_every_n_epochs=1")


@fault("SET020", "no samples")
def no_samples(case: Case) -> None:
    change(case, " \\\n  --sample_prompts=prompts.txt \\\n  --sample_every_n_steps=200", "")


@close_call("SET020", "samples by epochs")
def samples_by_epochs(case: Case) -> None:
    change(case, "--sample_every_n_steps=200", "--sample_every_n_epochs=1")


@fault("SET021", "no seed")
def no_seed(case: Case) -> None:
    drop(case, "--seed=42")


@close_call("SET021", "seed 0")
def seed_zero(case: Case) -> None:
    change(case, "--seed=42", "--seed=0")


def _zero_snr(case: Case) -> None:
    mark_as_v(case)
    add(case, "--v_parameterization --zero_terminal_snr")


@fault("SET022", "a scaled v-prediction loss with zero terminal SNR")
def scaled_v_loss(case: Case) -> None:
    _zero_snr(case)
    add(case, "--scale_v_pred_loss_like_noise_pred")


@close_call("SET022", "zero terminal SNR with min-SNR weighting")
def min_snr_v_loss(case: Case) -> None:
    _zero_snr(case)


@fault("SET026", "v's loss scaled on a base that predicts the noise", start="project")
def scaled_noise_loss(case: Case) -> None:
    case.edit(case.config, "[objective]\n", "[objective]\nscale_v_pred_loss_like_noise_pred = true\n")


@close_call("SET026", "v's loss scaled on a base that is said to predict v", start="project")
def scaled_v_loss_of_a_stated_v(case: Case) -> None:
    scaled_noise_loss(case)
    case.edit(case.config, "[objective]\n", '[objective]\nprediction = "v"\n')


@fault("SET023", "no output folder")
def no_output(case: Case) -> None:
    drop(case, "--output_dir=output")


@close_call("SET023", "the resolution stands in the dataset TOML", start="toml")
def resolution_in_toml(case: Case) -> None:
    case.edit(case.toml, "resolution = 512", "resolution = [512, 512]")


@fault("SET024", "buckets in steps of 32 px for an SD 1.5 model")
def odd_steps(case: Case) -> None:
    add(case, "--bucket_reso_steps=32")


@fault("SET024", "bucket steps of 16 px in a dataset TOML", start="toml")
def odd_steps_in_toml(case: Case) -> None:
    case.edit(case.toml, "enable_bucket = true\n", "enable_bucket = true\nbucket_reso_steps = 16\n")


@fault("SET024", "a resolution between two bucket steps")
def between_steps(case: Case) -> None:
    change(case, "--resolution=512,512", "--resolution=520,520")


@close_call("SET024", "buckets in steps of 128 px")
def wide_steps(case: Case) -> None:
    add(case, "--bucket_reso_steps=128")


@fault("SET014", "an algorithm of LyCORIS for sd-scripts' own module")
def idle_algorithm(case: Case) -> None:
    add(case, "--network_args algo=loha")


@close_call("SET014", "arguments that sd-scripts' own module takes")
def own_arguments(case: Case) -> None:
    add(case, "--network_args rank_dropout=0.1 module_dropout=0.1")


@fault("SET015", "an optimizer that does not exist")
def misspelt_optimizer(case: Case) -> None:
    change(case, "--optimizer_type=AdamW", "--optimizer_type=AdamW9")


@close_call("SET015", "a schedule in sd-scripts' own words")
def own_schedule(case: Case) -> None:
    change(case, "--lr_scheduler=cosine", "--lr_scheduler=cosine_with_min_lr")


@fault("SET015", "cmd's continuation mark in a bash script")
def marks_of_cmd(case: Case) -> None:
    case.edit(case.script, " \\\n", " ^\n")


def _prompts(case: Case, line: str) -> None:
    (case.folder / "prompts.txt").write_text(
        f"# the trigger alone first\nzkw_fox --d 1\n{line}\n", encoding="utf-8"
    )


@fault("SET025", "dashes of a word processor before the options of a prompt")
def dashes(case: Case) -> None:
    _prompts(case, "zkw_fox, portrait \u2013n blurry \u2014w 512")


@fault("SET025", "an option that people write and sd-scripts does not know")
def long_option(case: Case) -> None:
    _prompts(case, "zkw_fox, portrait --width 512")


@fault("SET025", "a width that the VAE cannot have")
def odd_width(case: Case) -> None:
    _prompts(case, "zkw_fox, portrait --w 500 --h 512")


@close_call("SET025", "every option as sd-scripts reads it, and hyphens within words")
def prompts_as_read(case: Case) -> None:
    _prompts(
        case,
        "zkw_fox, three-quarter view, well-lit --n low-quality --w 512 --h 768 --d 1 --l 7.5 --s 28 --ss euler_a",
    )


def _preserving(case: Case, class_word: str) -> None:
    """Let the project hold the class to the base, with this class word in settings and profile."""
    for path in (case.config, *case.folder.rglob("profile.toml")):
        case.edit(path, 'class_word = "anime character"', f'class_word = "{class_word}"')
    case.edit(case.config, "min_snr_gamma = 5", "min_snr_gamma = 5\npreservation = 4")


@fault("SET034", "preservation without a class word", start="project")
def preservation_of_no_class(case: Case) -> None:
    _preserving(case, "")


@fault("SET034", "the trigger stands in the class word", start="project")
def preservation_of_the_subject(case: Case) -> None:
    _preserving(case, f"{TRIGGER} character")


@close_call("SET034", "both words are there", start="project")
def preservation_with_words(case: Case) -> None:
    _preserving(case, "anime character")


@fault("SET044", "compiled blocks and a dropout of the adapter", start="project")
def compiled_with_dropout(case: Case) -> None:
    compiled_without(case)
    case.edit(case.config, "rank = 32\n", "rank = 32\nrank_dropout = 0.1\n")


@close_call("SET044", "compiled blocks without dropout", start="project")
def compiled_without(case: Case) -> None:
    case.edit(case.config, "[training]\n", "[training]\ncompile_blocks = true\n")


def compile_mode(case: Case, *more: str) -> None:
    lines = ['compile_mode = "reduce-overhead"', *more]
    case.edit(case.config, "[training]\n", "[training]\n" + "".join(f"{line}\n" for line in lines))


@fault("SET047", "a mode of compiling and nothing compiled", start="project")
def mode_without_compiling(case: Case) -> None:
    compile_mode(case)


@close_call("SET047", "a mode of compiling and compiled blocks", start="project")
def mode_with_compiling(case: Case) -> None:
    compile_mode(case, "compile_blocks = true")
