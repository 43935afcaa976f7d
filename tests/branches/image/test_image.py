import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.numpy import load_file

from branches import registry
from branches.benchmark import recorded
from branches.candidates import propose
from branches.image.config import Config
from branches.image.data import Stored, augment, distinct_images, lost_images, read_all, read_batch, resize, squash
from branches.image.model import ImageEncoder, check_size
from branches.image.train import _inputs, train
from branches.stages import embed_catalog
from shared.errors import ArtifactError, MatcherError
from shared.schema import Catalog
from shared.training.trainer import Training
from tests.support.catalogs import label_codes

embed = partial(embed_catalog, registry.get("image"))

SIZES = {"size": 64, "embed_size": 64, "batch_size": 16, "dim": 32, "head_dim": 16, "memory_size": 32}
SMALL = Config(epochs=1, precision="float32", **SIZES)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, catalog_of):
    """24 listings of 8 products: a colored shape each, shifted from listing to listing; 22 and 23 share a file."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    names, digests = [], []
    for at in range(24):
        product = np.random.default_rng(at // 3)
        image = Image.new("RGB", (90, 80), tuple(product.integers(0, 256, 3).tolist()))
        patch = Image.new("RGB", (30, 30), tuple(product.integers(0, 256, 3).tolist()))
        image.paste(patch, tuple(rng.integers(10, 40, 2).tolist()))
        image.save(folder / f"{at}.png")
        names.append(f"{min(at, 22)}.png")
        digests.append(hashlib.sha256((folder / names[-1]).read_bytes()).hexdigest())
    made = catalog_of(24, image=names, image_sha=digests, label_group=[f"p{at // 3}" for at in range(24)])
    return Catalog(made.table, folder)


@pytest.fixture(scope="module")
def trained(shop, one_thread, tmp_path_factory):
    out = tmp_path_factory.mktemp("encoder")
    metrics = train(shop, label_codes(shop), SMALL, one_thread, out)
    return out, metrics


# --- from training to candidates --------------------------------------------------------------------------------------


def test_train_writes_encoder_and_log(trained):
    out, metrics = trained
    assert sorted(p.name for p in out.iterdir()) == ["encoder.json", "encoder.safetensors", "log"]
    assert (metrics["listings"], metrics["images"], metrics["steps"]) == (24, 23, 2)
    assert metrics["positive_pairs"] > 0


@pytest.mark.fault(25)
def test_train_same_seed_same_bytes(trained, shop, one_thread, tmp_path):
    train(shop, label_codes(shop), SMALL, one_thread, tmp_path)
    for name in ("encoder.json", "encoder.safetensors"):
        assert (tmp_path / name).read_bytes() == (trained[0] / name).read_bytes()


@pytest.mark.fault(24)
def test_train_resumes_exactly(shop, one_thread, tmp_path, monkeypatch):
    config = SMALL.model_copy(update={"epochs": 2, "precision": "auto"})
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    for folder in (killed, undisturbed):
        folder.mkdir()
    train(shop, label_codes(shop), config, one_thread, undisturbed)
    with monkeypatch.context() as patch:
        patch.setattr("branches.image.train.Training", partial(Training, checkpoint_s=0))
        patch.setattr("branches.image.train._inputs", killed_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            train(shop, label_codes(shop), config, one_thread, killed)
    assert (killed / "checkpoint" / "state.safetensors").exists()
    train(shop, label_codes(shop), config, one_thread, killed)
    assert (killed / "encoder.safetensors").read_bytes() == (undisturbed / "encoder.safetensors").read_bytes()


def killed_in_the_second_epoch(images, image, positions, epoch, *rest):
    if epoch == 1:
        raise KeyboardInterrupt
    return _inputs(images, image, positions, epoch, *rest)


def test_embed_and_candidates_find_products(trained, shop, one_thread):
    embeddings = embed(shop, trained[0], SMALL, one_thread)
    assert embeddings.vectors.shape == (24, 32)
    assert embeddings.present.all()
    found = propose(embeddings, SMALL.model_copy(update={"neighbors": 2}), one_thread)
    same = shop.labels[found.left] == shop.labels[found.right]
    assert same.mean() > 0.3  # by chance 2 in 23


def test_embed_independent_of_order_and_duplicates(trained, shop, one_thread):
    embeddings = embed(shop, trained[0], SMALL, one_thread)
    assert (embeddings.vectors[22] == embeddings.vectors[23]).all()
    order = np.random.default_rng(0).permutation(23)  # without the duplicate, in another order
    assert (embed(shop.take(order), trained[0], SMALL, one_thread).vectors == embeddings.vectors[order]).all()


def test_embed_with_whole_mirror_is_mirror_invariant(shop, one_thread, tmp_path):
    whole = SMALL.model_copy(update={"epochs": 0, "mirror_part": 1.0})
    train(shop, label_codes(shop), whole, one_thread, tmp_path)
    for at in range(23):
        with Image.open(shop.image_folder / f"{at}.png") as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / f"{at}.png")
    (tmp_path / "23.png").write_bytes((tmp_path / "22.png").read_bytes())
    digests = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in shop.column("image")]
    turned = Catalog(shop.with_columns({"image_sha": digests}).table, tmp_path)
    for mirror in (True, False):
        config = whole.model_copy(update={"mirror": mirror})
        pairs = (embed(of, tmp_path, config, one_thread).vectors for of in (shop, turned))
        assert (np.abs(np.subtract(*pairs)).max() < 1e-4) == mirror


def test_embed_at_another_size_gives_similar_vectors(trained, shop, one_thread):
    sizes = (SMALL.model_copy(update={"embed_size": size, "whitening": False}) for size in (64, 96))
    small, large = (embed(shop, trained[0], config, one_thread) for config in sizes)
    assert not np.allclose(small.vectors, large.vectors, atol=1e-3)
    assert (small.vectors * large.vectors).sum(axis=1).mean() > 0.5


@pytest.mark.parametrize("mirror", [True, False])
def test_whitening_is_fitted_to_images_as_they_are_embedded(mirror, shop, one_thread, tmp_path):
    config = SMALL.model_copy(update={"embed_size": 96, "mirror": mirror})
    train(shop, label_codes(shop), config, one_thread, tmp_path)
    with recorded(ImageEncoder, "unwhitened") as calls:
        embed(shop.take(np.arange(23)), tmp_path, config, one_thread)
    with torch.inference_mode():
        plain = torch.cat([call() for call in calls])[:23]
    center = load_file(tmp_path / "encoder.safetensors")["center"]
    digests = shop.column("image_sha").tolist()
    weight = np.array([digests.count(digest) for digest in sorted(set(digests))])  # two listings share an image
    assert np.allclose(center, weight @ plain.numpy() / weight.sum(), atol=1e-3)


def test_length_of_embeddings(trained, shop, one_thread):
    whitened = embed(shop, trained[0], SMALL, one_thread)
    assert whitened.vectors.shape == (24, 32)
    plain = embed(shop, trained[0], SMALL.model_copy(update={"whitening": False}), one_thread)
    assert plain.vectors.shape == (24, 16)
    nothing = shop.with_columns({"image_sha": [None] * 24, "image": [None] * 24})
    assert embed(nothing, trained[0], SMALL, one_thread).vectors.shape == (24, 32)


def test_network_that_is_not_trained_is_whitened(shop, one_thread, tmp_path):
    config = SMALL.model_copy(update={"epochs": 0})
    assert train(shop, label_codes(shop), config, one_thread, tmp_path)["steps"] == 0
    vectors = np.asarray(embed(shop, tmp_path, config, one_thread).vectors)
    cosine = vectors @ vectors.T
    same = np.equal.outer(label_codes(shop), label_codes(shop))
    assert np.abs(np.median(cosine[~same])) < 0.2  # images have no direction in common
    assert np.median(cosine[same]) > np.median(cosine[~same])


def test_check_size_of_network_with_fixed_size():
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64)
    encoder = ImageEncoder(network, "avg", 16, 16)
    check_size(encoder, {"size": 64}, 64)
    with pytest.raises(MatcherError, match=r"image.embed_size=96: this network takes the size it was trained at, 64"):
        check_size(encoder, {"size": 64}, 96)


@pytest.mark.fault(6, 8)
def test_embed_without_usable_image(trained, shop, one_thread, tmp_path, capsys):
    for at in range(24):
        (tmp_path / f"{at}.png").write_bytes((shop.image_folder / f"{at}.png").read_bytes())
    (tmp_path / "3.png").write_bytes(b"<html>")  # broken since it was read
    (tmp_path / "5.png").unlink()
    digests = shop.table.column("image_sha").to_pylist()
    digests[0] = None
    table = shop.table.set_column(5, shop.table.schema.field(5), [digests])
    embeddings = embed(Catalog(table, tmp_path), trained[0], SMALL, one_thread)
    assert np.flatnonzero(~embeddings.present).tolist() == [0, 3, 5]
    assert "changed or gone since the catalog was read, not used: 2 of 22, such as" in capsys.readouterr().err


@pytest.mark.fault(6)
def test_an_image_replaced_since_the_catalog_was_read_is_not_used(trained, shop, one_thread, tmp_path):
    for at in range(23):
        (tmp_path / f"{at}.png").write_bytes((shop.image_folder / f"{at}.png").read_bytes())
    (tmp_path / "3.png").write_bytes((tmp_path / "7.png").read_bytes())  # a sound image, but another
    replaced = Catalog(shop.table, tmp_path)
    assert np.flatnonzero(~embed(replaced, trained[0], SMALL, one_thread).present).tolist() == [3]
    metrics = train(replaced, label_codes(replaced), SMALL.model_copy(update={"epochs": 0}), one_thread, tmp_path)
    assert (metrics["listings"], metrics["images"]) == (23, 22)
    lost = metrics["images_changed_or_gone_since_the_catalog_was_read"]
    assert lost == "1 of 23, such as 3.png"


@pytest.mark.fault(6, 8)
def test_images_that_are_all_gone_are_one_error(trained, shop, one_thread, tmp_path):
    gone = Catalog(shop.table, tmp_path / "gone")
    for work in (
        lambda: embed(gone, trained[0], SMALL, one_thread),
        lambda: train(gone, label_codes(gone), SMALL, one_thread, tmp_path),
    ):
        with pytest.raises(MatcherError, match=r"23 of 23, such as \d+\.png; is .*gone still there\? Start again"):
            work()


@pytest.mark.parametrize(("lost", "fails"), [(10, False), (11, True)])
def test_more_lost_images_than_a_few_are_an_error(lost, fails):
    stored = [Stored(Path(f"{at}.png"), "") for at in range(100)]
    usable = np.arange(100) >= lost
    if fails:
        with pytest.raises(MatcherError, match=f"{lost} of 100, such as 0.png"):
            lost_images(stored, usable)
    else:
        assert lost_images(stored, usable) == f"{lost} of 100, such as 0.png"


def test_embed_without_encoder(shop, one_thread):
    with pytest.raises(ArtifactError, match="the image branch needs an encoder"):
        embed(shop, None, SMALL, one_thread)


@pytest.mark.parametrize("case", ["no images", "singletons", "one image"])
def test_train_without_positive_pairs_keeps_pretrained(case, shop, one_thread, tmp_path, catalog_of):
    listings = shop
    if case == "no images":
        listings = catalog_of(4, title=["a"] * 4, label_group=["g", "g", "h", "h"])
    elif case == "singletons":
        listings = shop.take(np.arange(0, 24, 3))
    elif case == "one image":
        listings = shop.take(np.array([22, 23]))
    config = SMALL.model_copy(update={"epochs": 0}) if case == "one image" else SMALL
    metrics = train(listings, label_codes(listings), config, one_thread, tmp_path)
    assert metrics["steps"] == 0
    embeddings = embed(shop, tmp_path, SMALL, one_thread)
    assert embeddings.present.all()
    different = len(np.unique(embeddings.vectors.round(4), axis=0))
    assert (
        different == 23 if case == "singletons" else different > 15
    )  # the other cases leave the axes of whitening open


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("test_efficientnet", {}),
        ("test_vit", {"pooling": "avg", "size": 64, "embed_size": 64, "frozen_stages": 0}),  # takes one size of images
    ],
)
def test_backbone_from_folder(name, settings, shop, one_thread, tmp_path):
    from timm.models import save_for_hf

    network = timm.create_model(name, num_classes=0)
    save_for_hf(network, tmp_path / "net", model_config={"num_classes": 0}, safe_serialization=True)
    out = tmp_path / "out"
    out.mkdir()
    config = SMALL.model_copy(update={"backbone": str(tmp_path / "net"), **settings})
    train(shop, label_codes(shop), config, one_thread, out)
    for path in (tmp_path / "net").iterdir():
        path.unlink()
    assert embed(shop, out, config, one_thread).present.all()


# --- the images -------------------------------------------------------------------------------------------------------


def test_distinct_images_in_order_of_content(shop):
    rows = np.array([23, 4, 22, 7])
    paths, image = distinct_images(shop, rows)
    assert len(paths) == 3
    assert image[0] == image[2]
    assert [paths[at].path.name for at in image] == ["22.png", "4.png", "22.png", "7.png"]
    again, _ = distinct_images(shop, rows[::-1])
    assert again == paths


@pytest.mark.parametrize("shape", [(90, 80), (40, 40), (10, 300), (1, 1), (1, 20_000)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_squash_equals_pillow(shape, interpolation):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))
    found = squash(image, 40, interpolation)
    pillow = np.asarray(image.resize((40, 40), Image.Resampling[interpolation.upper()]))
    assert found.shape == (40, 40, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - pillow).mean() < 0.5


def test_read_all_from_memory_and_file(shop, tmp_path, monkeypatch):
    files = [shop.image_folder / f"{at}.png" for at in range(6)]
    paths = [Stored(file, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files] + [
        Stored(tmp_path / "none.png", "")
    ]
    batch, usable = read_batch(paths, 40, "bicubic")
    assert usable.tolist() == [True] * 6 + [False]
    in_memory, _ = read_all(paths, 40, "bicubic", 1, tmp_path / "overflow")
    assert not (tmp_path / "overflow").exists()
    monkeypatch.setattr("branches.image.data.IN_MEMORY", 10)
    in_file, usable_in_file = read_all(paths, 40, "bicubic", 3, tmp_path / "overflow")
    assert isinstance(in_file, np.memmap)
    for images in (in_memory, in_file):
        assert (np.asarray(images) == batch).all()
    assert (usable_in_file == usable).all()


def test_training_copies_no_more_than_a_batch_of_images_on_the_disk(shop, one_thread, tmp_path, monkeypatch):
    monkeypatch.setattr("branches.image.data.IN_MEMORY", 10)
    copied = []

    def resized(pixels, size):
        copied.append(isinstance(pixels, np.memmap))  # a view of the file
        return resize(pixels, size)

    monkeypatch.setattr("branches.image.train.resize", resized)
    train(shop, label_codes(shop), SMALL.model_copy(update={"epochs": 0}), one_thread, tmp_path)
    assert copied
    assert all(copied)


def test_augment_depends_on_generator_alone():
    rng = np.random.default_rng(0)
    image, another = rng.integers(0, 256, (2, 50, 50, 3), dtype=np.uint8)
    results = [augment(image, another, 40, 1.0, np.random.default_rng(seed)) for seed in range(60)]
    assert all(result.shape == (40, 40, 3) and result.dtype == np.uint8 for result in results)
    assert (augment(image, another, 40, 1.0, np.random.default_rng(7)) == results[7]).all()
    assert len({result.tobytes() for result in results}) == 60


def test_augment_strength_0_only_resizes():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert (augment(image, image[::-1], 40, 0.0, np.random.default_rng(1)) == image).all()
