"""Models of pictures and texts give what transformers and sentence-transformers give."""

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel, SiglipModel

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix
from shardrank.core.errors import InputError
from shardrank.core.image_settings import ImageSettings
from shardrank.core.pictured import pictured
from shardrank.core.protocols import Codecs
from shardrank.models.encoders.image import ImageColumn, load_image
from shardrank.models.encoders.image_inputs import PicturePixels
from shardrank.models.encoders.registry import family_of
from shardrank.models.folder.image_folder import read_image_folder
from shardrank.models.image_cards import read_image_card
from tests.image_models import (
    CLIP_POSITIONS,
    EDGE,
    SIGLIP_POSITIONS,
    clip_processor,
    noise,
    saved,
    tiny_clip,
    tiny_siglip,
)
from tests.tiny_models import edit_json, write_json

TEXTS = ["wing flow", "", "Heat of a " + "plate " * 20, "shock"]
PICTURES = [
    saved(noise(1), "JPEG"),
    saved(noise(2, 33, 70)),
    saved(noise(3, 80, 33, channels=4)),
    saved(noise(4, 32, 32).quantize(8)),
    saved(noise(5).convert("CMYK"), "JPEG"),
    saved(noise(6).convert("L"), "TIFF"),
    saved(noise(7).convert("1"), "BMP"),
    saved(noise(8), "GIF", save_all=True, append_images=[noise(9)]),
    saved(noise(10, channels=4), "WEBP", lossless=True),
]


@dataclass(frozen=True)
class Kind:
    """A family: how a tiny one is made, its class, and how texts are filled up."""

    make: Callable[[Path], Path]
    model: Any
    filled: dict[str, Any]


KINDS = {
    "clip": Kind(tiny_clip, CLIPModel, {"padding": True, "max_length": CLIP_POSITIONS}),
    "siglip": Kind(
        tiny_siglip, SiglipModel, {"padding": "max_length", "max_length": SIGLIP_POSITIONS}
    ),
}


@dataclass(frozen=True)
class Pair:
    """A folder, what is made of it here, and the vectors of the library."""

    folder: Path
    column: ImageColumn
    texts: Float32
    pictures: Float32
    pixels: Float32


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    kind = KINDS[request.param]
    folder = kind.make(tmp_path_factory.mktemp(request.param))
    model = kind.model.from_pretrained(folder).eval()
    tokeniser = AutoTokenizer.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    ids = tokeniser(TEXTS, truncation=True, return_tensors="pt", **kind.filled)
    images = [Image.open(io.BytesIO(picture)) for picture in PICTURES]
    pixels = processor(images=images, return_tensors="pt")
    with torch.inference_mode():
        texts = model.get_text_features(**ids).pooler_output
        pictures = model.get_image_features(**pixels).pooler_output
    shown = pixels["pixel_values"].numpy()
    return Pair(folder, loaded(folder), unit(texts), unit(pictures), shown)


def unit(vectors: torch.Tensor) -> Float32:
    return torch.nn.functional.normalize(vectors, dim=1).numpy()  # type: ignore[no-any-return]


def loaded(folder: Path, **more: Any) -> ImageColumn:
    settings = ImageSettings(model=str(folder), stored="fp32", **more)
    return load_image(settings, "cpu", read_image_card(settings))


def asked(texts: list[str], pictures: list[bytes | None]) -> pa.Array:
    return pictured(pa.array(texts), pa.array(pictures, pa.binary()))


def values(column: pa.Array) -> Float32:
    return matrix(pa.chunked_array([column])).astype(np.float32)


def test_pixels_are_those_of_the_library_to_the_bit(pair: Pair) -> None:
    how = read_image_folder(ImageSettings(model=str(pair.folder))).pictures
    np.testing.assert_array_equal(PicturePixels(how)(PICTURES), pair.pixels)


def test_vectors_are_those_of_the_library(pair: Pair) -> None:
    found = values(pair.column.column(pa.array(TEXTS)))
    np.testing.assert_allclose(found, pair.texts, atol=1e-6)
    shown = asked([""] * len(PICTURES), list(PICTURES))
    np.testing.assert_allclose(values(pair.column.queries(shown)), pair.pictures, atol=1e-6)


def test_both_in_one(pair: Pair) -> None:
    read = asked(TEXTS, [*PICTURES[:3], None])
    mixed = pair.texts + pair.pictures[: len(TEXTS)]
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    mixed[1], mixed[3] = pair.pictures[1], pair.texts[3]
    np.testing.assert_allclose(values(pair.column.column(read)), mixed, atol=1e-6)
    alone = loaded(pair.folder, mix="image", batch_images=2).column(read)
    expected = np.concatenate([pair.pictures[:3], pair.texts[3:]])
    np.testing.assert_allclose(values(alone), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_halves_are_near(pair: Pair, dtype: str) -> None:
    column = loaded(pair.folder, dtype=dtype)
    shown = asked([""] * len(PICTURES), list(PICTURES))
    assert (values(column.column(shown)) * pair.pictures).sum(axis=1).min() > 0.99
    told = values(column.queries(pa.array(TEXTS)))
    assert (told * pair.texts).sum(axis=1).min() > 0.99


def test_sentence_transformers_gives_the_same(tmp_path: Path) -> None:
    folder = tiny_clip(tmp_path / "clip")
    library = SentenceTransformer(str(folder), device="cpu")
    images = [Image.open(io.BytesIO(picture)) for picture in PICTURES[:3]]
    pictures = library.encode(images, normalize_embeddings=True)
    texts = library.encode(["wing flow", "shock"], normalize_embeddings=True)
    column = loaded(folder)
    shown = asked([""] * 3, list(PICTURES[:3]))
    np.testing.assert_allclose(values(column.column(shown)), pictures, atol=1e-6)
    told = values(column.column(pa.array(["wing flow", "shock"])))
    np.testing.assert_allclose(told, texts, atol=1e-6)


def test_folders_of_sentence_transformers(tmp_path: Path) -> None:
    plain = tiny_clip(tmp_path / "plain")
    around = tmp_path / "around"
    shutil.copytree(plain, around / "0_CLIPModel")
    kind = "sentence_transformers.models.CLIPModel"
    module = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": kind}
    write_json(around / "modules.json", [module])
    write_json(around / "config_sentence_transformers.json", {"prompts": {"query": ""}})
    one, other = (read_image_card(ImageSettings(model=str(f))) for f in (plain, around))
    assert one.fingerprint == other.fingerprint
    edit_json(around / "config_sentence_transformers.json", prompts={"query": "a photo of "})
    with pytest.raises(InputError, match="a photo of"):
        read_image_card(ImageSettings(model=str(around)))
    (around / "config_sentence_transformers.json").unlink()
    write_json(around / "modules.json", [{**module, "path": "../plain"}])
    with pytest.raises(InputError, match="path"):
        read_image_card(ImageSettings(model=str(around)))


@pytest.mark.parametrize(
    ("edited", "said"),
    [
        ({"do_pad": True}, "do_pad"),
        ({"do_resize": False}, "do_resize"),
        ({"novel": 1}, "novel"),
        ({"size": {"longest_edge": EDGE}}, "size"),
        ({"size": {"shortest_edge": EDGE - 1}}, "crop_size"),
        ({"crop_size": EDGE - 1}, "the model sees"),
        ({"resample": 9}, "resample"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"image_processor_type": "ViTImageProcessor"}, "ViTImageProcessor"),
    ],
)
def test_what_is_not_understood_of_pictures_is_refused(
    clip: Path, tmp_path: Path, edited: dict[str, Any], said: str
) -> None:
    folder = Path(shutil.copytree(clip, tmp_path / "clip"))
    write_json(folder / "preprocessor_config.json", clip_processor(**edited))
    with pytest.raises(InputError, match=said):
        read_image_folder(ImageSettings(model=str(folder)))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def test_other_models_are_refused(clip: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(clip, tmp_path / "clip"))
    settings = ImageSettings(model=str(folder))
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="how pictures are put in"):
        read_image_folder(settings)
    # As transformers 5 saves a processor.
    write_json(folder / "processor_config.json", {"image_processor": clip_processor()})
    read_image_folder(settings)
    edit_json(folder / "config.json", model_type="siglip2")
    with pytest.raises(InputError, match="siglip2"):
        read_image_folder(settings)


def test_a_folder_that_lacks_a_tower_is_refused(clip: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(clip, tmp_path / "clip"))
    model = CLIPModel.from_pretrained(folder)
    model.text_model.save_pretrained(tmp_path / "text")
    shutil.copy(tmp_path / "text" / "model.safetensors", folder)
    settings = ImageSettings(model=str(folder))
    with pytest.raises(InputError, match="lacks"):
        family_of(settings).read(settings, None)


def test_another_model_than_was_planned_with_is_refused(clip: Path) -> None:
    settings = ImageSettings(model=str(clip))
    family = family_of(settings)
    card = family.read(settings, None)
    other = settings.model_copy(update={"query_prompt": "a photo of "})
    with pytest.raises(Exception, match="fingerprint"):
        family.load(other, "cpu", card, Codecs())
