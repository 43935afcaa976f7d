"""The contract of a branch, and the stages that every branch goes through.

A branch is a folder `branches/<name>/` with

- `config.py`: `Config`, its section of the settings, a `BranchConfig`: it says how many neighbors a listing proposes
  and how similar the least of them is;
- `embed.py`: `embed(catalog, encoder, config, compute) -> Embeddings`; with an encoder, what it makes of a listing
  depends on no other one, to the bit. Also, where there is something to load or what it makes of a listing depends on
  the pool, `embedder(pool, encoder, config, compute)`: what embeds listings to be compared with those of the
  pool;
- `candidates.py`: `candidates(embeddings, config, compute) -> Candidates`;
- `train.py`, only if it learns: `train(catalog, components, config, compute, out) -> figures`, which writes an encoder
  into the folder `out`. It may find there what a killed training left. Under `torchrun` every process calls it, each
  with a folder of its own, of which the first one's is kept.

Nothing else is known about it: not here, and not in the ensemble.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shared import processes
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.errors import MatcherError
from shared.pipeline.cli import command, step_command
from shared.pipeline.extra_data import extra_stage, extras_of, join, load_extra
from shared.pipeline.pools import (
    ALL,
    Pool,
    all_pools,
    fold_pools,
    load_split,
    new_catalog,
    pool_catalog,
    pool_inputs,
    prepare,
    train_catalog,
    training_rows,
    unseen_catalogs,
    unseen_inputs,
)
from shared.pipeline.run import ROOT, Run, code_digest, digest, file_digest, replaced_folder
from shared.pipeline.settings import Settings
from shared.schema import Candidates, Catalog, Embedder, Embeddings


def learns(name: str) -> bool:
    """Whether a branch has an encoder to train."""
    return (ROOT / "branches" / name / "train.py").exists()


def train_encoder(
    name: str, catalog: Catalog, component: NDArray[np.int32], config: ConfigSection, compute: ComputeConfig, out: Path
) -> dict[str, Any]:
    """Train an encoder of a branch on labeled listings, as its contract says; returns figures."""
    figures: dict[str, Any] = import_module(f"branches.{name}.train").train(catalog, component, config, compute, out)
    return figures


def embed_with(
    name: str, catalog: Catalog, encoder: Path | None, config: ConfigSection, compute: ComputeConfig
) -> Embeddings:
    """Embed listings with an encoder of a branch, as its contract says."""
    made: Embeddings = import_module(f"branches.{name}.embed").embed(catalog, encoder, config, compute)
    return made


def embed(run: Run, settings: Settings, name: str, catalog: Catalog, encoder: str) -> Embeddings:
    """Embed listings with one of a run's encoders (`fold0`, …, `all`)."""
    folder = run.open(f"{name}/encoder/{encoder}") if learns(name) else None
    return embed_with(name, catalog, folder, settings.branch(name), settings[ComputeConfig])


def embedder(run: Run, settings: Settings, name: str, pool: Catalog) -> Embedder:
    """What embeds listings with the encoder for new catalogs, to be compared with those of a pool."""
    module = import_module(f"branches.{name}.embed")
    if not hasattr(module, "embedder"):
        return lambda catalog: embed(run, settings, name, catalog, ALL)
    folder = run.open(f"{name}/encoder/{ALL}") if learns(name) else None
    made: Embedder = module.embedder(pool, folder, settings.branch(name), settings[ComputeConfig])
    return made


def candidates(settings: Settings, name: str, embeddings: Embeddings) -> Candidates:
    """The pairs a branch proposes among embedded listings."""
    module = import_module(f"branches.{name}.candidates")
    made: Candidates = module.candidates(embeddings, settings.branch(name), settings[ComputeConfig])
    return made


def train_stage(run: Run, settings: Settings, name: str, encoder: str) -> None:
    """Train one encoder of a branch on the listings it may see, those of its read extras too."""
    config, compute = settings.branch(name), settings[ComputeConfig]
    extras = extras_of(config)

    def work(out: Path) -> Mapping[str, Any]:
        processes.call(encoder)
        return _train(run, settings, name, encoder, out)

    inputs = {"catalog": run.digest_of("catalog/train"), "split": run.digest_of("split")}
    inputs |= _named_folders(config)
    keys = {name: config.until("train"), "seed": compute.seed}
    if extras:
        inputs |= {extra.stage: run.digest_of(extra.stage) for extra in extras} | unseen_inputs(run, settings, encoder)
        keys["joined by"] = code_digest("shared.pipeline.extra_data")
    run.stage(f"{name}/encoder/{encoder}", f"branches.{name}.train", inputs, keys, work)


def _train(run: Run, settings: Settings, name: str, encoder: str, out: Path) -> dict[str, Any]:
    config, split = settings.branch(name), load_split(run)
    rows = training_rows(split, encoder)
    catalog, component = train_catalog(run).take(rows), split.component[rows]
    joined: dict[str, int] = {}
    if extras := [load_extra(run, extra) for extra in extras_of(config)]:
        catalog, component, joined = join(catalog, extras, unseen_catalogs(run, settings, encoder))
    return {**train_encoder(name, catalog, component, config, settings[ComputeConfig], out), **joined}


def _named_folders(config: ConfigSection) -> dict[str, str]:
    """Digests of the files in folders that settings name, such as pretrained weights: setting → digest."""
    named = {key: Path(value) for key, value in config if isinstance(value, str) and value and Path(value).is_dir()}
    return {
        key: digest({str(path.relative_to(folder)): file_digest(path) for path in folder.rglob("*") if path.is_file()})
        for key, folder in named.items()
    }


def embed_stage(run: Run, settings: Settings, name: str, pool: Pool) -> None:
    """Embed one pool."""

    def work(out: Path) -> Mapping[str, Any]:
        made = embed(run, settings, name, pool_catalog(run, settings, pool), pool.encoder)
        made.save(out / "embeddings.safetensors")
        return {"listings": len(made), "with evidence": int(made.present.sum())}

    inputs = pool_inputs(run, settings, pool)
    if learns(name):
        inputs["encoder"] = run.digest_of(f"{name}/encoder/{pool.encoder}")
    keys = {name: settings.branch(name).until("embed")}
    run.stage(f"{name}/embeddings/{pool.name}", f"branches.{name}.embed", inputs, keys, work)


def encoder_digests(run: Run, names: Sequence[str]) -> dict[str, str]:
    """Digests of the encoders that new catalogs are embedded with: stage → digest."""
    return {stage: run.digest_of(stage) for stage in encoder_stages(names)}


def encoder_stages(names: Sequence[str]) -> list[str]:
    """The stages with the encoders that new catalogs are embedded with."""
    return [f"{name}/encoder/{ALL}" for name in names if learns(name)]


def candidates_stage(run: Run, settings: Settings, name: str, pool: Pool) -> None:
    """Propose pairs in one pool."""

    def work(out: Path) -> Mapping[str, Any]:
        made = candidates(settings, name, load_embeddings(run, name, pool))
        made.save(out / "candidates.parquet")
        return {"pairs": len(made)}

    inputs = {"embeddings": run.digest_of(f"{name}/embeddings/{pool.name}")}
    keys = {name: settings.branch(name).until("candidates")}
    run.stage(f"{name}/candidates/{pool.name}", f"branches.{name}.candidates", inputs, keys, work)


def load_embeddings(run: Run, name: str, pool: Pool) -> Embeddings:
    """A branch's embeddings of a pool."""
    return Embeddings.load(run.open(f"{name}/embeddings/{pool.name}") / "embeddings.safetensors")


def load_candidates(run: Run, name: str, pool: Pool) -> Candidates:
    """A branch's candidate pairs of a pool."""
    return Candidates.load(run.open(f"{name}/candidates/{pool.name}") / "candidates.parquet")


def train_all(run: Run, settings: Settings, name: str) -> None:
    """Read a branch's extras and train its encoders: one a fold, and one on all folds."""
    if learns(name):
        for extra in extras_of(settings.branch(name)):
            extra_stage(run, extra, settings[ComputeConfig])
        for encoder in [*(pool.encoder for pool in fold_pools(settings)), ALL]:
            train_stage(run, settings, name, encoder)


def embed_all(run: Run, settings: Settings, name: str) -> None:
    """Embed every pool of a run."""
    train_all(run, settings, name)
    for pool in all_pools(settings):
        embed_stage(run, settings, name, pool)


def candidates_all(run: Run, settings: Settings, name: str) -> None:
    """Take a branch through all its stages, for every pool of a run."""
    embed_all(run, settings, name)
    for pool in all_pools(settings):
        candidates_stage(run, settings, name, pool)


def main_train(name: str) -> int:
    """The command `python -m branches.<name>.train`."""

    def work(run: Run, settings: Settings) -> None:
        prepare(run, settings)
        train_all(run, settings, name)
        run.say(f"\n{name} is trained; ./run_all.sh --run {run.folder} does again what depends on it")

    def follow(run: Run, settings: Settings) -> None:
        for encoder in processes.calls():
            with TemporaryDirectory() as thrown_away:
                _train(run, settings, name, encoder, Path(thrown_away))

    about = f"Train the {name} branch: an encoder for every fold, and one on all folds. Runs under torchrun too."
    usage = f"python -m branches.{name}.train"
    sections = [name, "split", "compute"]
    return step_command(work, f"{name}/encoder", about, sections, usage=usage, follow=follow)


def main_candidates(name: str) -> int:
    """The command `python -m branches.<name>.candidates`."""

    def work(run: Run, settings: Settings) -> None:
        prepare(run, settings)
        candidates_all(run, settings, name)

    about = f"Propose pairs by the {name} branch alone, in every pool of a run; does the steps before it if needed."
    usage = f"python -m branches.{name}.candidates"
    return step_command(work, f"{name}/candidates", about, [name, "split", "compute"], usage=usage)


def main_embed(name: str) -> int:
    """The command `python -m branches.<name>.embed`."""

    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--out", type=Path, help="with --data: folder for embeddings.safetensors and ids.parquet")

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        if (arguments.data is None) != (arguments.out is None):
            raise MatcherError("--data NEW and --out FOLDER go together: the listings to embed, and where to write")
        if arguments.out is not None:
            _embed_new(run, settings, name, arguments.out)
            return
        run.force = (f"{name}/embeddings",) if arguments.force else ()
        prepare(run, settings)
        embed_all(run, settings, name)

    about = f"Embed every pool of a run with the {name} branch; with --data NEW --out FOLDER, embed new listings."
    usage = f"python -m branches.{name}.embed"
    return command(body, about, [name, "data", "compute"], usage=usage, new_data=True, options=options)


def _embed_new(run: Run, settings: Settings, name: str, out: Path) -> None:
    if learns(name):
        run.open(f"{name}/encoder/{ALL}")
    catalog = new_catalog(settings)
    made = embed(run, settings, name, catalog, ALL)
    with replaced_folder(out) as folder:
        made.save(folder / "embeddings.safetensors")
        pq.write_table(pa.table({"posting_id": pa.array(catalog.ids, pa.string())}), folder / "ids.parquet")
    run.say(f"{len(made):,} listings, {int(made.present.sum()):,} with evidence, embedded to {out}")
