"""The image encoder against the processor and the model of transformers."""

import inspect

import numpy as np
import pytest
import torch

from unsnarl.diffusion._image_encoder import PUBLISHED_MEAN, ImageEncoder, fitting_encoder
from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.zoo._clip_recipes import image_processor

transformers = pytest.importorskip("transformers")
pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def vision():
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=24,
    )
    return transformers.CLIPVisionModelWithProjection(config).eval()


def published(**options):
    kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    return kind(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, **options)


def test_it_sees_what_the_processor_gives(vision):
    draws = np.random.default_rng(0)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 10), (80, 100), mode="bicubic").clamp(0, 1)
    bytes_ = (smooth[0].permute(1, 2, 0).numpy() * 255 + draws.normal(0, 8, (80, 100, 3))).clip(0, 255).astype("uint8")
    from PIL import Image

    theirs = published()(Image.fromarray(bytes_), return_tensors="pt").pixel_values
    images = torch.from_numpy(bytes_).permute(2, 0, 1)[None] / 127.5 - 1
    encoder = ImageEncoder(vision, processor=published())
    ours = encoder.preprocess(images)
    assert ours.shape == theirs.shape == (1, 3, 32, 32)
    assert float((ours - theirs).abs().mean()) < 0.01  # theirs are rounded to bytes in between
    assert float((ours - theirs).abs().max()) < 0.05
    assert torch.allclose(encoder(images), vision(pixel_values=ours).image_embeds)


def test_embeddings_are_the_projection_and_not_normalised(vision):
    encoder = ImageEncoder(vision, processor=image_processor())
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    found = encoder(images)
    assert torch.equal(found, vision(pixel_values=encoder.preprocess(images)).image_embeds)
    assert found.shape == (3, encoder.width) == (3, 24)
    assert not torch.allclose(found.norm(dim=1), torch.ones(3), atol=0.05)
    assert torch.allclose(encoder.preprocess(images), images, atol=1e-6)  # mean and deviation of one half


def test_raw_pixels_are_left_as_they_are(vision):
    encoder = ImageEncoder(vision, processor=published())
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(encoder.preprocess(images, raw=True), images)
    assert torch.equal(encoder(images, raw=True), vision(pixel_values=images).image_embeds)
    expected = ((images + 1) / 2 - torch.tensor(PUBLISHED_MEAN)[:, None, None]) / encoder._std[:, None, None]
    assert torch.allclose(encoder.preprocess(images), expected, atol=1e-6)
    assert not torch.allclose(encoder(images), encoder(images, raw=True))


def test_gradients_reach_the_images(vision):
    images = (torch.rand(1, 3, 48, 48) * 1.8 - 0.9).requires_grad_()
    ImageEncoder(vision, processor=published())(images).sum().backward()
    assert float(images.grad.abs().min()) > 0


def test_a_folder_brings_its_own_processor(vision, tmp_path):
    vision.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="published CLIP"):
        without = ImageEncoder(tmp_path)
    assert without._mean.tolist() == pytest.approx(PUBLISHED_MEAN)
    published(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]).save_pretrained(tmp_path)
    encoder = ImageEncoder(str(tmp_path))
    assert encoder._mean.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert not any(p.requires_grad for p in encoder.model.parameters())
    loaded = transformers.CLIPVisionModelWithProjection.from_pretrained(tmp_path)
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(ImageEncoder(loaded)(images), encoder(images))  # the object knows where it came from
    again = ImageEncoder(encoder)
    assert again._mean.tolist() == encoder._mean.tolist()
    assert again.name == str(tmp_path)


def test_a_whole_clip_will_do():
    from unsnarl.zoo._contrastive import clip_config, image_embeddings
    from unsnarl.zoo._tokenizer import scene_tokenizer

    config = clip_config(scene_tokenizer(), width=32, text_layers=1, vision_layers=1, heads=2, patch=8, projection=16)
    clip = transformers.CLIPModel(config).eval()
    images = torch.rand(2, 3, 32, 32)
    encoder = ImageEncoder(clip, processor=image_processor())
    assert (encoder.width, encoder.image_size) == (16, 32)
    assert torch.allclose(encoder(images), image_embeddings(clip, images), atol=1e-6)


def test_bad_ones_get_one_sentence(vision, tmp_path):
    with pytest.raises(OptionError, match="CLIPVisionModelWithProjection"):
        ImageEncoder(torch.nn.Linear(2, 2))
    with pytest.raises(FileError, match="neither a folder"):
        ImageEncoder(tmp_path / "nothing")
    with pytest.raises(OptionError, match="image_std"):
        ImageEncoder(vision, processor={"image_mean": [0.5] * 3})
    encoder = ImageEncoder(vision, processor=image_processor())
    with pytest.raises(DataError, match="shape"):
        inspect.unwrap(ImageEncoder.preprocess)(encoder, torch.zeros(1, 1, 32, 32))  # without the check of types here
    assert "laion/CLIP-ViT-H-14" in fitting_encoder(1024)
    assert "openai/clip-vit-large-patch14" in fitting_encoder(768)
    assert "no published" in fitting_encoder(5)
