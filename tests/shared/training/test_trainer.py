"""The training loop on a toy: listings are noisy copies of a vector a group, the encoder a small perceptron."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.metrics.retrieval import Retrieval
from shared.training import trainer
from shared.training.checkpoint import load_tensors
from shared.training.config import TrainingConfig
from shared.training.encoder import Encoder, pca_whitening
from shared.training.trainer import WHITENING_SHRINKAGE, Training, TrainingSet, label_numbers

CONFIG = TrainingConfig(
    epochs=3,
    batch_size=8,
    memory_size=16,
    memory_warmup=0.2,
    learning_rate=1e-2,
    head_learning_rate=1e-2,
    precision="float32",
)
SPREAD = [0.1, 0.1, 0.1, 2, 2, 2]
COMPUTE = ComputeConfig(device="cpu", threads=1, seed=5)


class Toy(Encoder):
    dim = 4

    def __init__(self) -> None:
        super().__init__(self.dim)
        self.backbone = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(16, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, values):
        return functional.normalize(self.norm(self.head(self.backbone(values))))


class Killed(Exception):
    pass


def toy_data(groups=12, size=2, seed=0):
    """Three values that tell the group and three that tell nothing, with noise that changes from epoch to epoch."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(groups), size)
    centers = rng.normal(size=(groups, 6)) * [1, 1, 1, 0, 0, 0]

    def load(positions, epoch):
        noise = [np.random.default_rng([seed, epoch, int(at)]).normal(size=6) for at in positions]
        return {"values": torch.tensor(centers[labels[positions]] + np.stack(noise) * SPREAD, dtype=torch.float32)}

    return TrainingSet(labels, labels.copy(), load, lambda positions: load(positions, 1000))


def new_toy():
    torch.manual_seed(0)
    return Toy()


def trained(folder, data=None, config=CONFIG, workers=1, **options):
    """Train a fresh toy; the bytes of its weights and the metrics."""
    encoder = new_toy()
    training = Training("toy", encoder, data or toy_data(), config, COMPUTE, folder, **options)
    training.workers = workers
    metrics = training.run()
    encoder.save(folder, {})
    return (folder / "encoder.safetensors").read_bytes(), metrics


def config_with(**settings):
    return CONFIG.model_copy(update=settings)


def killed_at(step, data):
    """The same data, whose loading is killed when the batch of that step is asked for."""
    calls = iter(range(10_000))

    def load(positions, epoch):
        if next(calls) == step:
            raise Killed
        return data.load(positions, epoch)

    return replace(data, load=load)


@pytest.mark.fault(24)
@pytest.mark.parametrize("step", [1, 3, 4, 8])
def test_resume_is_exact(tmp_path, step):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    expected, metrics = trained(tmp_path / "a")
    with pytest.raises(Killed):
        trained(tmp_path / "b", killed_at(step, toy_data()), checkpoint_s=0)
    checkpoint = tmp_path / "b" / "checkpoint" / "state.safetensors"
    assert load_tensors(checkpoint)[1]["step"] == step
    again, metrics_again = trained(tmp_path / "b", checkpoint_s=0)
    assert again == expected
    assert checkpoint.exists()  # until the encoder is saved
    for name in ("loss", "positive_pairs", "negative_pairs", "memory_entries", "steps"):
        assert metrics_again[name] == metrics[name]


@pytest.mark.fault(24)
def test_resume_repeats_no_step(tmp_path):
    with pytest.raises(Killed):
        trained(tmp_path, killed_at(4, toy_data()), checkpoint_s=0)
    asked = []
    data = toy_data()
    counting = replace(data, load=lambda at, epoch: asked.append(epoch) or data.load(at, epoch))
    trained(tmp_path, counting)
    assert asked == [1, 1, 2, 2, 2]  # 3 steps an epoch, of which the first four were done


@pytest.mark.fault(24)
@pytest.mark.parametrize("damage", ["flip a bit", "other settings"])
def test_resume_from_unfit_checkpoint(tmp_path, damage):
    expected, _ = trained(tmp_path)
    config = CONFIG if damage == "flip a bit" else CONFIG.model_copy(update={"weight_decay": 0.5})
    with pytest.raises(Killed):
        trained(tmp_path, killed_at(4, toy_data()), config, checkpoint_s=0)
    if damage == "flip a bit":
        path = tmp_path / "checkpoint" / "state.safetensors"
        data = bytearray(path.read_bytes())
        data[-3] ^= 4
        path.write_bytes(data)
    with pytest.warns(UserWarning, match="training starts from the beginning"):
        again, _ = trained(tmp_path)
    assert again == expected


@pytest.mark.fault(25)
def test_workers_change_nothing(tmp_path):
    assert trained(tmp_path)[0] == trained(tmp_path, workers=5)[0]


@pytest.mark.fault(25)
def test_seed_changes_weights(tmp_path, monkeypatch):
    before = trained(tmp_path)[0]
    monkeypatch.setitem(globals(), "COMPUTE", COMPUTE.model_copy(update={"seed": 6}))
    assert trained(tmp_path)[0] != before


def test_training_raises_recall(tmp_path):
    data = toy_data(groups=30)
    config = CONFIG.model_copy(update={"epochs": 30})
    values = data.load(np.arange(60), 99)["values"]

    def recall(encoder):
        with torch.inference_mode():
            found = encoder.eval()(values)
        similarity = (found @ found.T).fill_diagonal_(-1)
        return (data.labels[similarity.argmax(dim=1).numpy()] == data.labels).mean()

    encoder = new_toy()
    before = recall(encoder)
    Training("toy", encoder, data, config, COMPUTE, tmp_path).run()
    assert recall(encoder) > before + 0.15


def test_batchnorm_statistics_of_backbone_and_head(tmp_path):
    encoder = new_toy()
    Training("toy", encoder, toy_data(), CONFIG, COMPUTE, tmp_path).run()
    fresh = new_toy()
    assert torch.equal(encoder.backbone[1].running_mean, fresh.backbone[1].running_mean)
    assert torch.equal(encoder.backbone[1].running_var, fresh.backbone[1].running_var)
    assert not torch.equal(encoder.norm.running_mean, fresh.norm.running_mean)


@pytest.mark.parametrize(("groups", "size", "epochs"), [(5, 1, 3), (0, 2, 3), (5, 2, 0)])
def test_no_positive_pair_or_no_epoch(tmp_path, groups, size, epochs):
    encoder = new_toy()
    config = CONFIG.model_copy(update={"epochs": epochs})
    metrics = Training("toy", encoder, toy_data(groups, size), config, COMPUTE, tmp_path).run()
    assert metrics == {"steps": 0}
    assert all(
        torch.equal(a, b) for a, b in zip(encoder.state_dict().values(), new_toy().state_dict().values(), strict=True)
    )


@pytest.mark.fault(10)
def test_loss_not_finite(tmp_path):
    data = toy_data()
    broken = replace(data, load=lambda at, _: {"values": torch.full((len(at), 6), torch.nan)})
    with pytest.raises(MatcherError, match="toy: the loss is nan at step 0; lower learning_rate"):
        trained(tmp_path, broken)


def test_metrics_and_epoch_lines(tmp_path, capsys):
    metrics = trained(tmp_path)[1]
    assert metrics["memory_entries"] == 16
    assert metrics["steps"] == 9
    assert metrics["positive_pairs"] > 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("toy: epoch")]
    assert len(lines) == 3
    assert lines[2].startswith("toy: epoch 3 of 3: mean loss ")
    assert " pairs per step, 16 embeddings in memory, " in lines[2]


def test_memory_size_0(tmp_path):
    metrics = trained(tmp_path, config=CONFIG.model_copy(update={"memory_size": 0}))[1]
    assert metrics["memory_entries"] == 0


@pytest.mark.parametrize("validation", [0, 0.3])
def test_memory_of_an_epoch(tmp_path, validation):
    config = CONFIG.model_copy(update={"memory_size": 1.0, "validation": validation})
    data = toy_data(groups=20)
    training = Training("toy", new_toy(), data, config, COMPUTE, tmp_path)
    drawn = []
    training.data = replace(data, load=lambda at, epoch: drawn.extend(at) or data.load(at, epoch))
    assert training.run()["memory_entries"] == len(training.training) == len(drawn) // 3
    assert sorted(training.loss.memory.rows.tolist()) == sorted(drawn[-len(training.training) :])


def test_memory_is_used_after_a_share_of_the_steps(tmp_path, monkeypatch):
    training = Training("toy", new_toy(), toy_data(), config_with(memory_warmup=0.5), COMPUTE, tmp_path)
    used, forward = [], training.loss.forward
    monkeypatch.setattr(
        training.loss, "forward", lambda b, use, progress: used.append(use) or forward(b, use, progress)
    )
    training.run()
    assert used == [False] * 5 + [True] * 4


def test_label_numbers():
    assert label_numbers(np.array(["b", "a", "b", "10"], dtype=object)).tolist() == [2, 1, 2, 0]


VALIDATED = config_with(validation=0.3, epochs=6)


def test_validation_listings_evaluate_each_epoch(tmp_path):
    data, asked = toy_data(groups=20), set()
    spying = replace(data, load=lambda at, epoch: asked.update(at.tolist()) or data.load(at, epoch))
    training = Training("toy", new_toy(), spying, VALIDATED, COMPUTE, tmp_path)
    training.run()
    judged = set(training.validation.tolist())
    assert len(judged) == 12
    assert asked == set(range(40)) - judged
    lines = [json.loads(line) for line in (tmp_path / "log" / "metrics.jsonl").read_text().splitlines()]
    judgments = [line for line in lines if "map_at_20" in line]
    assert [line["epoch"] for line in judgments] == [1, 2, 3, 4, 5, 6]
    assert {line["pool_size"] for line in judgments} == {12}


def test_best_epoch_is_kept(tmp_path, monkeypatch):
    """Judged by scores made up here: the third epoch is the best, so its weights are the encoder's."""
    scores, seen = iter([0.1, 0.2, 0.9, 0.3, 0.4, 0.9]), []

    def judged(encoder, *_):
        seen.append({name: value.clone() for name, value in encoder.state_dict().items()})
        return Retrieval(12, 0.5, next(scores), 0.5, 0.5)

    monkeypatch.setattr("shared.training.trainer.evaluate", judged)
    encoder = new_toy()
    metrics = Training("toy", encoder, toy_data(groups=20), VALIDATED, COMPUTE, tmp_path).run()
    assert (metrics["best_epoch"], metrics["map_at_20"]) == (3, 0.9)
    learned = dict(encoder.named_parameters())
    assert all(torch.equal(value, seen[2][name]) for name, value in learned.items())
    assert not all(torch.equal(value, seen[5][name]) for name, value in learned.items())


@pytest.mark.fault(24)
@pytest.mark.parametrize("step", [1, 8, 11, 17])
def test_resume_with_validation_is_exact(tmp_path, step):
    for name in "ab":
        (tmp_path / name).mkdir()
    data = toy_data(groups=20)
    expected, metrics = trained(tmp_path / "a", data, VALIDATED)
    with pytest.raises(Killed):
        trained(tmp_path / "b", killed_at(step, data), VALIDATED, checkpoint_s=0)
    again, metrics_again = trained(tmp_path / "b", data, VALIDATED)
    assert again == expected
    assert metrics_again["best_epoch"] == metrics["best_epoch"]
    lines = [(tmp_path / name / "log" / "metrics.jsonl").read_text().splitlines() for name in "ab"]
    steps = [[json.loads(line)["step"] for line in of] for of in lines]
    assert steps[0] == steps[1]


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    "settings", [{"loss": "arcface"}, {"loss": "multi_similarity"}, {"loss": "softmax"}, {"xbn": True}]
)
def test_resume_with_other_losses_is_exact(tmp_path, settings):
    for name in "ab":
        (tmp_path / name).mkdir()
    config, data = config_with(**settings), toy_data()
    expected, _ = trained(tmp_path / "a", data, config)
    with pytest.raises(Killed):
        trained(tmp_path / "b", killed_at(5, data), config, checkpoint_s=0)
    assert trained(tmp_path / "b", data, config)[0] == expected
    (tmp_path / "c").mkdir()
    assert trained(tmp_path / "c")[0] != expected


def test_every_step_is_logged(tmp_path):
    trained(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 10))
    assert [line["epoch"] for line in lines] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert lines[0].keys() >= {
        "loss",
        "positive_pairs",
        "negative_pairs",
        "memory_entries",
        "learning_rate",
        "listings_per_s",
    }
    assert lines[-1]["learning_rate"] < lines[3]["learning_rate"]


def test_whitening_is_fitted_to_training_listings(tmp_path):
    data, encoder = toy_data(groups=20), new_toy()
    Training("toy", encoder, data, config_with(validation=0.3), COMPUTE, tmp_path / "a").run()
    learned = Training("toy", new_toy(), data, config_with(validation=0.3), COMPUTE, tmp_path / "b").training
    with torch.inference_mode():
        vectors = encoder.eval()(data.view(learned)["values"])
    whitening = pca_whitening(vectors, WHITENING_SHRINKAGE)
    assert whitening is not None
    center, axes = whitening
    assert torch.allclose(encoder.center, center.float(), atol=1e-5)
    assert torch.allclose(encoder.axes.T @ encoder.axes, (axes.T @ axes).float(), rtol=1e-3)


def test_whitening_of_fewer_listings_than_dimensions(tmp_path):
    encoder, data = new_toy(), toy_data(1)
    assert 2 <= len(data.labels) <= 4
    Training("toy", encoder, data, config_with(), COMPUTE, tmp_path).run()
    assert not torch.equal(encoder.axes, torch.eye(4))
    assert torch.isfinite(encoder.axes).all()


def test_no_whitening_without_a_training(tmp_path):
    encoder = new_toy()
    Training("toy", encoder, toy_data(12), config_with(epochs=0), COMPUTE, tmp_path).run()
    assert torch.equal(encoder.axes, torch.eye(4))


def test_whitening_is_fitted_to_some_of_many_listings(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "WHITENING_LISTINGS", 5)
    seen = list[int]()
    monkeypatch.setattr(Toy, "fit_whitening", lambda self, values, shrinkage: seen.append(len(values)))
    Training("toy", new_toy(), toy_data(12), config_with(), COMPUTE, tmp_path).run()
    assert seen == [5]
