"""What an NVIDIA GPU does: the tests marked `gpu`, images a second, 70,000 listings end to end.

    python -m tests.benchmarks gpu --out results.json
    python -m tests.benchmarks gpu --only images --images 64 --compute.device=cpu --out results.json

Networks have random weights, which are as fast as trained ones and need no download. `--compute.device=cpu` measures
images a second of the CPU. The first step says what is missing where there is no GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import timm
import torch

from branches import registry
from branches.benchmark import embedding_loops, fastest_s
from branches.image.config import Config
from branches.image.model import PACKAGED, ImageEncoder, Preprocessing, describe
from shared.catalog.config import DataConfig
from shared.catalog.reader import read_catalog
from shared.catalog.source import find_source
from shared.compute import ComputeConfig
from shared.demo import make_demo
from shared.errors import MatcherError
from tests.benchmarks.measure import measure
from tests.benchmarks.results import Results
from tests.benchmarks.system import settings_of
from tests.benchmarks.works import Order
from tests.support.paths import ROOT

KEY = ("what", "device")
NETWORKS = {PACKAGED: 224, "eca_nfnet_l0": 384}  # timm's name → pixels
STEPS = ("tests", "images", "match")
LISTINGS, REPEATS = 70_000, 3


def check_device(results: Results, options: argparse.Namespace, order: Order) -> int:
    """Do the steps that `--only` names, or all, and add the rows; return the number of steps that failed.

    Raises:
        MatcherError: There is no GPU, and the CPU was not asked for.
    """
    compute = settings_of(order.settings, order.threads)[ComputeConfig]
    name = device_name(compute)
    print(name, flush=True)
    steps = STEPS if options.only is None else tuple(options.only.split(","))
    if unknown := sorted(set(steps) - set(STEPS)):
        raise MatcherError(f"there is no step {unknown[0]!r}; there are: {', '.join(STEPS)}")
    failed = 0
    if "tests" in steps:
        failed += _run_tests(results, name)
    if "images" in steps:
        for network in NETWORKS:
            rows = images_per_s(network, options.images, Path(order.cache), compute)
            results.add("device", [{**row, "device": name} for row in rows], KEY)
    if "match" in steps:
        failed += _match(results, order, name, options.again)
    for row in results.rows["device"]:
        print(f"  {row['what']:<60} {row['value']:>12,.4g} {row['unit']}", flush=True)
    return failed


def device_name(compute: ComputeConfig) -> str:
    """Return the name of the device.

    Raises:
        MatcherError: It is no GPU, and the CPU was not asked for.
    """
    if compute.device == "cpu":
        return f"CPU, {compute.cpu_threads} threads"
    if not torch.cuda.is_available():
        raise MatcherError(
            "torch finds no NVIDIA GPU, so nothing of it can be measured; on a machine with one, install torch for "
            "its CUDA version and pip install '.[gpu]', or measure this machine's CPU with --compute.device=cpu"
        )
    compute.xp()  # with CuPy, or an error that says how to install it
    return str(torch.cuda.get_device_name())


def _run_tests(results: Results, name: str) -> int:
    """Run the tests that need a GPU; return whether any failed."""
    if importlib.util.find_spec("pytest") is None:
        raise MatcherError("the tests need pytest: pip install '.[dev]', or leave them out with --only images,match")
    code = subprocess.run([sys.executable, "-m", "pytest", "-m", "gpu", "-rs"], cwd=ROOT, check=False).returncode
    row = {"what": "tests marked gpu, exit code", "device": name, "value": code, "unit": ""}
    results.add("device", [row], KEY)
    return int(code != 0)


def images_per_s(network: str, images: int, cache: Path, compute: ComputeConfig) -> list[dict[str, Any]]:
    """Return rows with the images a second that a network embeds, and those of its forward pass alone.

    Args:
        network: timm's name, a key of `NETWORKS`.
        images: Listings of the demo whose images are embedded.
        cache: Keeps the demo and the encoder.
        compute: Device and threads.
    """
    size = NETWORKS[network]
    folder = cache / f"demo {images}"
    if not folder.exists():
        print(f"  drawing a demo of {images:,} listings", flush=True)
        make_demo(folder, images, seed=0, workers=compute.cpu_threads)
    catalog = read_catalog(find_source(folder, DataConfig()), DataConfig(), compute, labeled=False)
    config = Config(backbone=network, size=size, embed_size=size)
    encoder = _random_encoder(network, config, cache / f"encoder {network}")
    loops, count = embedding_loops(catalog, registry.get("image"), encoder, config, compute)
    seconds = fastest_s(loops, REPEATS)
    facts = {"unit": "images/s", "images": count, "threads": compute.cpu_threads}
    what = f"{network}, {size} px, with mirror images"
    rows = [
        {"what": f"{what}: embedding", "value": round(count / seconds["embed"], 1), **facts},
        {"what": f"{what}: forward pass alone", "value": round(count / seconds["forward"], 1), **facts},
        {"what": f"{what}: ratio", "value": round(seconds["forward"] / seconds["embed"], 3), "unit": ""},
    ]
    return rows


def _random_encoder(network: str, config: Config, folder: Path) -> Path:
    """Return the folder of an encoder with random weights."""
    if not (folder / "encoder.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        backbone = timm.create_model(network, pretrained=False, num_classes=0, global_pool="")
        encoder = ImageEncoder(backbone, config.pooling, config.dim, config.head_dim)
        preprocessing = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
        encoder.save(folder, describe(encoder, preprocessing, config))
    return folder


def _match(results: Results, order: Order, name: str, again: bool) -> int:
    """Match 70,000 listings with given embeddings on the device; return the number of failures."""
    stages = ["search distilbert", "search image", "search tfidf", "search phash", "whole"]
    failed = measure(results, [LISTINGS], stages, order, again=again)
    rows = [
        {"what": f"{row['stage']}, {LISTINGS:,} listings", "device": name, "value": row["seconds"], "unit": "s"}
        for row in results.rows["stages"]
        if row["listings"] == LISTINGS and row["settings"] == order.settings
    ]
    results.add("device", rows, KEY)
    return failed
