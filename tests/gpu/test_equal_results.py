"""What runs on an NVIDIA GPU gives what the CPU gives, up to stated rounding, and faster.

    python -m pytest tests/gpu -m gpu

Searches are equal to the last digit, since exact similarities are computed on the CPU. Features and embeddings differ
by rounding: by 1e-5 in float32, by a cosine of .99 or more in bfloat16.
"""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from branches import registry
from branches.benchmark import embedding_loops, fastest_s
from branches.candidates import propose
from branches.image.config import Config as ImageConfig
from branches.image.train import train as train_images
from branches.stages import embed_catalog
from ensemble.config import EnsembleConfig
from ensemble.matcher import Matcher
from ensemble.thinning import described_pool
from shared.catalog.config import DataConfig
from shared.catalog.reader import frame_catalog
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.schema import Catalog, Embeddings, Floats
from tests.benchmarks.catalogs import make_catalog
from tests.benchmarks.system import embed, given_embeddings, make_system, open_matcher, read_frame, settings_of
from tests.support.catalogs import label_codes

pytestmark = pytest.mark.gpu
CPU = ComputeConfig(device="cpu")
LISTINGS = 2000


@pytest.fixture(scope="module")
def gpu() -> ComputeConfig:
    """Computes on the GPU; without one, or without CuPy, the test is skipped."""
    compute = ComputeConfig(device="cuda")
    try:
        compute.torch_device()
        compute.xp()
    except MatcherError as error:
        pytest.skip(str(error))
    return compute


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    make_catalog(folder / str(LISTINGS), LISTINGS)
    return folder


@pytest.fixture(scope="module")
def listings(cache: Path) -> Catalog:
    return frame_catalog(read_frame(cache / str(LISTINGS)), None, DataConfig(), CPU)


@pytest.mark.parametrize("branch", ["distilbert", "image", "tfidf", "phash"])
def test_neighbors(branch: str, gpu: ComputeConfig, cache: Path, listings: Catalog) -> None:
    config = registry.get(branch).Config()
    embeddings = given_embeddings(cache / str(LISTINGS)).get(branch)
    if embeddings is None:
        embeddings = embed_catalog(registry.get(branch), listings, None, config, CPU)
    there, here = (propose(embeddings, config, compute) for compute in (gpu, CPU))
    for name in ("left", "right", "similarity", "rank_left", "rank_right"):
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name), err_msg=name)


def test_neighbors_of_many_equal_hashes(gpu: ComputeConfig) -> None:
    signs = np.where(np.random.default_rng(0).random((40, 64)) < 0.5, -1, 1).astype(np.float32) / 8
    pool = Embeddings(signs[np.random.default_rng(1).integers(0, 40, 1500)], np.ones(1500, dtype=np.bool_))
    config = registry.get("phash").Config()
    there, here = (propose(pool, config, compute) for compute in (gpu, CPU))
    np.testing.assert_array_equal(there.key, here.key)


def test_features(gpu: ComputeConfig, cache: Path, listings: Catalog) -> None:
    learned = given_embeddings(cache / str(LISTINGS))
    configs = {name: registry.get(name).Config() for name in EnsembleConfig().branches}
    there, here = (
        described_pool(listings, learned, configs, EnsembleConfig().features, compute) for compute in (gpu, CPU)
    )
    np.testing.assert_array_equal(there.key, here.key)
    for name in here.features:
        np.testing.assert_allclose(there.features[name], here.features[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_groups_of_a_whole_catalog(gpu: ComputeConfig, cache: Path, listings: Catalog) -> None:
    make_system(cache, 600)
    groups = []
    for device in ("cuda", "cpu"):
        matcher: Matcher = open_matcher(cache, settings_of({"compute": {"device": device}}))
        result = matcher.match_embedded(listings, embed(matcher, listings, cache / str(LISTINGS)))
        groups.append(result.group_ids())
    assert (groups[0] == groups[1]).mean() > 0.999  # a score that rounds to the other side of the threshold


# --- embeddings -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(demo_catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image encoder as it comes."""
    out = tmp_path_factory.mktemp("encoder")
    train_images(demo_catalog, label_codes(demo_catalog), ImageConfig(epochs=0), CPU, out)
    return out


def embedded(catalog: Catalog, encoder: Path, precision: str, compute: ComputeConfig) -> Floats:
    config = ImageConfig.model_validate({"precision": precision, "embed_batch": 16})
    embeddings = embed_catalog(registry.get("image"), catalog, encoder, config, compute)
    vectors = embeddings.vectors[embeddings.present]
    assert isinstance(vectors, np.ndarray)
    return vectors


def cosines(one: Floats, other: Floats) -> Floats:
    return np.asarray((one * other).sum(axis=1))


@pytest.mark.parametrize(("precision", "least"), [("float32", 0.9999), ("bfloat16", 0.99)])
def test_embeddings_of_images(
    precision: str, least: float, gpu: ComputeConfig, demo_catalog: Catalog, encoder: Path
) -> None:
    here = embedded(demo_catalog, encoder, "float32", CPU)
    there = embedded(demo_catalog, encoder, precision, gpu)
    assert len(there) == len(here) > 20
    assert cosines(there, here).min() > least


def test_embeddings_are_the_same_again(gpu: ComputeConfig, demo_catalog: Catalog, encoder: Path) -> None:
    np.testing.assert_array_equal(*(embedded(demo_catalog, encoder, "bfloat16", gpu) for _ in range(2)))


@pytest.mark.slow
def test_a_gpu_embeds_faster_than_its_cpu(gpu: ComputeConfig, demo_catalog: Catalog, encoder: Path) -> None:
    config, seconds = ImageConfig(), {}
    for compute in (gpu, CPU):
        loops, _ = embedding_loops(demo_catalog, registry.get("image"), encoder, config, compute)
        seconds[compute.device] = fastest_s({"forward": loops["forward"]}, repeats=2)["forward"]
    assert seconds["cuda"] < seconds["cpu"] / 3


def test_a_gpu_searches_faster_than_one_core(gpu: ComputeConfig) -> None:
    vectors = np.random.default_rng(0).standard_normal((20_000, 384)).astype(np.float32)
    pool = Embeddings(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.ones(20_000, dtype=np.bool_))
    config, xp = registry.get("distilbert").Config(), gpu.xp()
    propose(pool.take(np.arange(500)), config, gpu)  # the first call compiles
    start = time.perf_counter()
    propose(pool, config, gpu)
    xp.cuda.Device().synchronize()
    there, start = time.perf_counter() - start, time.process_time()
    propose(pool, config, ComputeConfig(device="cpu", threads=1))
    assert there < time.process_time() - start
    assert torch.cuda.is_available()
