"""Untrained hosts of the true classes, small: what a pipeline's interface promises does not need trained weights."""

import torch


def tiny_unet_pipeline(prediction="epsilon", seed=0):
    """A `StableDiffusionPipeline` of scenes with one narrow UNet."""
    from unsnarl.zoo import _sd_recipe
    from unsnarl.zoo._clip_recipes import CLIP_TINY
    from unsnarl.zoo._extra import diffusers

    torch.manual_seed(seed)
    clip = CLIP_TINY.make({}, 10).model
    sizes = _sd_recipe.UNET | {"block_out_channels": (16, 16, 32)}
    made = _sd_recipe.pipeline(diffusers().UNet2DConditionModel(**sizes).eval(), clip)
    # "leading": where there is only noise, noise that is predicted says nothing of the image
    changed = {"prediction_type": prediction, "timestep_spacing": "leading"}
    made.scheduler = type(made.scheduler).from_config(dict(made.scheduler.config) | changed)
    return made


def tiny_flow_pipeline(seed=0):
    """A `StableDiffusion3Pipeline` of scenes with two joint layers."""
    from unsnarl.zoo import _sd3_recipe
    from unsnarl.zoo._clip_recipes import CLIP_TINY
    from unsnarl.zoo._extra import diffusers

    torch.manual_seed(seed)
    clip = CLIP_TINY.make({}, 10).model
    texts = tuple(one.eval() for one in _sd3_recipe._make_texts({"clip-tiny": clip}, 10).encoders)
    transformer = diffusers().SD3Transformer2DModel(**(_sd3_recipe.TRANSFORMER | {"num_layers": 2})).eval()
    for parameter in transformer.parameters():  # diffusers starts some layers at 0, which would hide mistakes
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    return _sd3_recipe.pipeline(transformer, texts)


def published_tokenizer():
    """A `CLIPTokenizer` of bytes with the published length of 77."""
    from transformers import CLIPTokenizer

    from unsnarl.zoo._tokenizer import _byte_letters

    letters = _byte_letters()
    words = [*letters, *(one + "</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)
