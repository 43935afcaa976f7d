"""The training loop on a toy: listings are noisy copies of a vector a group, the encoder a small perceptron."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from shared.checkpoint import load_tensors
from shared.compute import ComputeConfig
from shared.encoder import Encoder
from shared.errors import MatcherError
from shared.metric_learning import Training, TrainingSet, label_numbers, learning_rate_scale
from shared.recipe import Recipe

RECIPE = Recipe(
    epochs=3,
    batch_size=8,
    memory=16,
    memory_warmup_steps=2,
    learning_rate=1e-2,
    head_learning_rate=1e-2,
    precision="float32",
)
SPREAD = [0.1, 0.1, 0.1, 2, 2, 2]
COMPUTE = ComputeConfig(device="cpu", threads=1, seed=5)


class Toy(Encoder):
    dim = 4

    def __init__(self) -> None:
        super().__init__()
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
    centres = rng.normal(size=(groups, 6)) * [1, 1, 1, 0, 0, 0]

    def load(positions, epoch):
        noise = [np.random.default_rng([seed, epoch, int(at)]).normal(size=6) for at in positions]
        return {"values": torch.tensor(centres[labels[positions]] + np.stack(noise) * SPREAD, dtype=torch.float32)}

    return TrainingSet(labels, labels.copy(), load)


def new_toy():
    torch.manual_seed(0)
    return Toy()


def trained(folder, data=None, recipe=RECIPE, workers=1, **options):
    """Train a fresh toy; the bytes of its weights and the figures."""
    encoder = new_toy()
    training = Training("toy", encoder, data or toy_data(), recipe, COMPUTE, folder, **options)
    training.workers = workers
    figures = training.run()
    encoder.save(folder, {})
    return (folder / "encoder.safetensors").read_bytes(), figures


def killed_at(step, data):
    """The same data, whose loading is killed when the batch of that step is asked for."""
    calls = iter(range(10_000))

    def load(positions, epoch):
        if next(calls) == step:
            raise Killed
        return data.load(positions, epoch)

    return TrainingSet(data.labels, data.components, load)


@pytest.mark.parametrize("step", [1, 3, 4, 8])
def test_a_killed_training_ends_as_an_undisturbed_one(tmp_path, step):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    expected, figures = trained(tmp_path / "a")
    with pytest.raises(Killed):
        trained(tmp_path / "b", killed_at(step, toy_data()), checkpoint_s=0)
    checkpoint = tmp_path / "b" / "checkpoint" / "state.safetensors"
    assert load_tensors(checkpoint)[1]["step"] == step
    again, figures_again = trained(tmp_path / "b", checkpoint_s=0)
    assert again == expected
    assert not checkpoint.parent.exists()
    for name in ("loss", "positives", "negatives", "memory", "steps"):
        assert figures_again[name] == figures[name]


def test_a_resumed_training_does_not_repeat_steps(tmp_path):
    with pytest.raises(Killed):
        trained(tmp_path, killed_at(4, toy_data()), checkpoint_s=0)
    asked = []
    data = toy_data()
    counting = TrainingSet(data.labels, data.components, lambda at, epoch: asked.append(epoch) or data.load(at, epoch))
    trained(tmp_path, counting)
    assert asked == [1, 1, 2, 2, 2]  # 3 steps an epoch, of which the first four were done


@pytest.mark.parametrize("damage", ["flip a bit", "other settings"])
def test_a_checkpoint_that_does_not_fit_is_left_aside(tmp_path, damage):
    expected, _ = trained(tmp_path)
    recipe = RECIPE if damage == "flip a bit" else RECIPE.model_copy(update={"weight_decay": 0.5})
    with pytest.raises(Killed):
        trained(tmp_path, killed_at(4, toy_data()), recipe, checkpoint_s=0)
    if damage == "flip a bit":
        path = tmp_path / "checkpoint" / "state.safetensors"
        data = bytearray(path.read_bytes())
        data[-3] ^= 4
        path.write_bytes(data)
    with pytest.warns(UserWarning, match="training starts anew"):
        again, _ = trained(tmp_path)
    assert again == expected


def test_the_number_of_workers_changes_nothing(tmp_path):
    assert trained(tmp_path)[0] == trained(tmp_path, workers=5)[0]


def test_the_seed_changes_something(tmp_path, monkeypatch):
    before = trained(tmp_path)[0]
    monkeypatch.setitem(globals(), "COMPUTE", COMPUTE.model_copy(update={"seed": 6}))
    assert trained(tmp_path)[0] != before


def test_it_learns(tmp_path):
    data = toy_data(groups=30)
    recipe = RECIPE.model_copy(update={"epochs": 30})
    values = data.load(np.arange(60), 99)["values"]

    def recall(encoder):
        with torch.inference_mode():
            found = encoder.eval()(values)
        similarity = (found @ found.T).fill_diagonal_(-1)
        return (data.labels[similarity.argmax(dim=1).numpy()] == data.labels).mean()

    encoder = new_toy()
    before = recall(encoder)
    Training("toy", encoder, data, recipe, COMPUTE, tmp_path).run()
    assert recall(encoder) > before + 0.15


def test_statistics_of_the_backbone_stay_and_the_heads_move(tmp_path):
    encoder = new_toy()
    Training("toy", encoder, toy_data(), RECIPE, COMPUTE, tmp_path).run()
    fresh = new_toy()
    assert torch.equal(encoder.backbone[1].running_mean, fresh.backbone[1].running_mean)
    assert torch.equal(encoder.backbone[1].running_var, fresh.backbone[1].running_var)
    assert not torch.equal(encoder.norm.running_mean, fresh.norm.running_mean)


@pytest.mark.parametrize(("still", "moving"), [("backbone.0", "head"), ("head", "backbone.0")])
def test_backbone_and_head_have_their_own_learning_rate(tmp_path, still, moving):
    rate = "learning_rate" if still == "backbone.0" else "head_learning_rate"
    encoder, fresh = new_toy(), new_toy()
    recipe = RECIPE.model_copy(update={rate: 0.0})
    Training("toy", encoder, toy_data(), recipe, COMPUTE, tmp_path).run()
    assert torch.equal(encoder.get_submodule(still).weight, fresh.get_submodule(still).weight)
    assert not torch.equal(encoder.get_submodule(moving).weight, fresh.get_submodule(moving).weight)


@pytest.mark.parametrize(("groups", "size", "epochs"), [(5, 1, 3), (0, 2, 3), (5, 2, 0)])
def test_without_a_positive_pair_or_an_epoch_the_encoder_stays_as_it_is(tmp_path, groups, size, epochs):
    encoder = new_toy()
    recipe = RECIPE.model_copy(update={"epochs": epochs})
    figures = Training("toy", encoder, toy_data(groups, size), recipe, COMPUTE, tmp_path).run()
    assert figures == {"steps": 0}
    assert all(
        torch.equal(a, b) for a, b in zip(encoder.state_dict().values(), new_toy().state_dict().values(), strict=True)
    )


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    data = toy_data()
    broken = TrainingSet(data.labels, data.components, lambda at, _: {"values": torch.full((len(at), 6), torch.nan)})
    with pytest.raises(MatcherError, match="toy: the loss is nan at step 0; lower learning_rate"):
        trained(tmp_path, broken)


def test_the_memory_fills_and_is_part_of_the_figures(tmp_path, capsys):
    figures = trained(tmp_path)[1]
    assert figures["memory"] == 16
    assert figures["steps"] == 9
    assert figures["positives"] > 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("toy: epoch")]
    assert len(lines) == 3
    assert lines[2].startswith("toy: epoch 3/3: loss ")
    assert ", memory 16, listings_per_s " in lines[2]


def test_without_memory_it_trains_too(tmp_path):
    figures = trained(tmp_path, recipe=RECIPE.model_copy(update={"memory": 0}))[1]
    assert figures["memory"] == 0


def test_the_learning_rate_rises_then_falls():
    scales = [learning_rate_scale(step, 100, 0.1) for step in range(100)]
    assert scales[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert (np.diff(scales[10:]) < 0).all()
    assert scales[55] == pytest.approx(0.5)
    assert 0 < scales[99] < 0.001
    assert [learning_rate_scale(0, 1, 0.0)] == [1.0]


def test_labels_become_numbers_in_the_order_of_their_names():
    assert label_numbers(np.array(["b", "a", "b", "10"], dtype=object)).tolist() == [2, 1, 2, 0]
