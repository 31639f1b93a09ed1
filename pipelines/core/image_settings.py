"""Settings of encoders of pictures and texts."""

from typing import Literal

from pydantic import Field

from shardrank.core.settings_base import NAME, SettingsTable, resize

ImageDtype = Literal["auto", "fp32", "bf16", "fp16"]


class ImageSettings(SettingsTable):
    """[[encoder]] with family = "image": one space for pictures and texts, such as CLIP or SigLIP.
    What a passage shows is its document's picture, which lies beside the first."""

    family: Literal["image"] = Field("image", description="vectors of pictures and of texts")
    name: str = Field("image", pattern=NAME, description="of its column, and the index over it")
    model: str = Field(min_length=1, description="a folder, or a hub name")
    revision: str | None = Field(None, description="the hub's revision: a branch, tag or commit")
    mix: Literal["mean", "image"] = Field(
        "mean",
        description="of a passage or query with both: the mean of the picture's vector and the "
        "text's, or the picture's alone; what has one of them has the vector of that",
    )
    query_prompt: str = Field("", description="put before queries' texts")
    document_prompt: str = Field("", description="put before passages' texts")
    dtype: ImageDtype = Field(
        "auto",
        description="of the forward pass: fp32, bf16 or fp16; auto: as the model's files",
    )
    stored: Literal["fp16", "fp32"] = Field("fp16", description="type of the stored vectors")
    batch_images: int | None = resize(
        None, "pictures in one forward pass; default: 8 on a CPU, 128 on a GPU", ge=1
    )
