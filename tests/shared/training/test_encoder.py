import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from shared.compute import ComputeConfig
from shared.errors import ArtifactError
from shared.training.config import TrainingConfig
from shared.training.encoder import Encoder, encode, full_batches, pca_whitening, read_facts, spread

COMPUTE = ComputeConfig(device="cpu", threads=1)
CONFIG = TrainingConfig(precision="float32")


class Toy(Encoder):
    dim = 2

    def __init__(self):
        super().__init__(self.dim)
        self.backbone = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))

    def forward(self, values):
        return functional.normalize(self.backbone(values))


def loader(values, usable=None):
    usable = np.ones(len(values), dtype=bool) if usable is None else np.array(usable)
    return lambda at: ({"values": torch.tensor(values[at], dtype=torch.float32)}, usable[at])


def encoded(values, size=2, usable=None):
    batches = full_batches(np.arange(len(values)), size)
    return encode(Toy(), loader(values, usable), batches, len(values), CONFIG, COMPUTE, "toy")


@pytest.mark.fault(8)
@pytest.mark.parametrize(("count", "size"), [(0, 4), (1, 4), (4, 4), (5, 4), (5, 1)])
def test_full_batches_cover_all_positions(count, size):
    batches = full_batches(np.arange(count), size)
    assert all(len(batch) == size for batch in batches)
    assert list(dict.fromkeys(np.concatenate([*batches, np.zeros(0, dtype=int)]).tolist())) == list(range(count))


def test_encode_unit_rows_or_zero():
    found = encoded(np.random.default_rng(0).normal(size=(5, 2)), usable=[True, False, True, True, True])
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 0, 1, 1, 1], abs=1e-6)


def test_encode_nothing():
    assert encoded(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.fault(8)
def test_encode_nothing_usable():
    assert not encoded(np.ones((3, 2)), usable=[False] * 3).any()


@pytest.mark.fault(10)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_encode_non_finite_rows_are_zero(bad):
    values = np.array([[1.0, 2.0], [bad, bad], [3.0, 1.0]])
    found = encoded(values, size=3)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 0, 1], abs=1e-6)


@pytest.mark.fault(10)
def test_encode_all_non_finite():
    with pytest.raises(
        ArtifactError, match="toy: the encoder's embeddings are not finite numbers; train the branch again"
    ):
        encoded(np.full((2, 2), np.nan))


def test_spread_to_listings():
    vectors = np.array([[1, 0], [0, 0], [0, 1]], dtype=np.float32)
    embeddings = spread(vectors, np.array([0, 2, 3, 5]), np.array([2, 0, 1, 2]), 6)
    assert embeddings.present.tolist() == [True, False, True, False, False, True]
    assert embeddings.vectors[[0, 2, 5]].tolist() == [[0, 1], [1, 0], [0, 1]]


def test_train_keeps_backbone_batchnorm_frozen():
    toy = Toy().train()
    assert toy.training
    assert not toy.backbone[1].training


def test_save_and_load(tmp_path):
    toy, other = Toy(), Toy()
    toy.save(tmp_path, {"branch": "toy", "size": 3})
    other.load(tmp_path)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in toy.state_dict().items())
    assert read_facts(tmp_path, "toy") == {"branch": "toy", "size": 3}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["encoder.json", "encoder.safetensors"]


@pytest.mark.fault(20)
def test_load_of_other_or_damaged_encoder(tmp_path):
    with pytest.raises(ArtifactError, match=r"the toy branch needs an encoder; run: python -m branches.toy.train"):
        read_facts(None, "toy")
    with pytest.raises(ArtifactError, match=r"encoder.json is damaged .*; train the branch again"):
        read_facts(tmp_path, "toy")
    Toy().save(tmp_path, {"branch": "other"})
    with pytest.raises(ArtifactError, match="encoder of branch other, not toy"):
        read_facts(tmp_path, "toy")
    (tmp_path / "encoder.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(ArtifactError, match=r"encoder.safetensors is damaged .*train the branch again"):
        Toy().load(tmp_path)


def test_save_writes_plain_json(tmp_path):
    Toy().save(tmp_path, {"branch": "toy", "mean": (0.5, 0.25)})
    assert json.loads((tmp_path / "encoder.json").read_text()) == {"branch": "toy", "mean": [0.5, 0.25]}


@pytest.mark.parametrize("shrinkage", [0.1, 1.0])
def test_pca_whitening_equals_textbook(shrinkage):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(500, 6, generator=generator) @ torch.randn(6, 6, generator=generator) + 3
    whitening = pca_whitening(values, shrinkage)
    assert whitening is not None
    center, axes = whitening
    covariance = np.cov(values.double().numpy().T, bias=True)
    shrunk = covariance + shrinkage * np.trace(covariance) / 6 * np.eye(6)
    assert np.allclose(axes.numpy() @ shrunk @ axes.numpy().T, np.eye(6), atol=1e-8)
    assert np.allclose(center.numpy(), values.double().mean(dim=0))
    variances = ((values.double() - center) @ axes.T).var(dim=0)
    assert (np.diff(variances.numpy()) < 0).all()  # the axes of largest variance come first


@pytest.mark.parametrize("values", [torch.zeros(0, 3), torch.ones(5, 3)])
def test_pca_whitening_without_variance(values):
    assert pca_whitening(values, 0.5) is None


@torch.inference_mode()
def test_whiten_after_fit():
    toy, generator = Toy().eval(), torch.Generator().manual_seed(1)
    values = torch.randn(200, 2, generator=generator) + torch.tensor([3.0, 0])
    plain = toy(values)
    assert torch.allclose(toy.whitened(values=values), plain, atol=1e-6)
    toy.fit_whitening(torch.ones(4, 2), 0.5)  # nothing to learn from: stays
    assert torch.allclose(toy.whitened(values=values), plain, atol=1e-6)
    toy.fit_whitening(plain, 0.01)
    found = toy.whitened(values=values)
    assert torch.allclose(found.norm(dim=1), torch.ones(200), atol=1e-6)
    assert found.mean(dim=0).norm() < 0.5 < plain.mean(dim=0).norm()


@pytest.mark.fault(25)
@pytest.mark.parametrize(("count", "copies"), [(60, 1), (5, 1), (2, 1), (5, 4)])
def test_whitening_of_some_axes_does_not_depend_on_rounding(count, copies):
    encoder = Encoder(4, width=12, whitened_dim=8)
    assert torch.equal(encoder.axes, torch.eye(8, 12))
    generator = torch.Generator().manual_seed(1)
    values = functional.normalize(torch.randn(count, 12, generator=generator) * torch.arange(1.0, 13.0).flip(0))
    values = values.repeat(copies, 1)  # many listings with few images
    other = functional.normalize(torch.randn(20, 12, generator=generator))
    found = []
    for rounding in (0, 1e-6):
        encoder.fit_whitening(values + rounding * torch.randn(count * copies, 12, generator=generator), 0.3)
        whitened = functional.normalize((other - encoder.center) @ encoder.axes.T)
        found.append((whitened @ whitened.T).numpy())
    assert found[1] == pytest.approx(found[0], abs=1e-3)


def test_save_keeps_whitening(tmp_path):
    toy, again = Toy(), Toy()
    toy.fit_whitening(torch.randn(50, 2, generator=torch.Generator().manual_seed(1)), 0.5)
    toy.save(tmp_path, {})
    again.load(tmp_path)
    assert torch.equal(again.axes, toy.axes)
    assert not torch.equal(again.axes, torch.eye(2))


def test_encode_whitens_by_settings():
    toy = Toy()
    toy.fit_whitening(torch.randn(50, 2, generator=torch.Generator().manual_seed(1)) + 1, 0.5)
    vectors = functional.normalize(torch.randn(6, 2, generator=torch.Generator().manual_seed(2)))

    def embedded(whitening):
        config = CONFIG.model_copy(update={"whitening": whitening})
        load = lambda at: ({"values": vectors[at]}, np.ones(len(at), dtype=bool))  # noqa: E731
        return encode(toy, load, full_batches(np.arange(6), 4), 6, config, COMPUTE, "toy")

    with torch.inference_mode():
        plain = toy.eval()(vectors)
    assert np.allclose(embedded(False), plain.numpy(), atol=1e-6)
    assert np.allclose(embedded(True), toy.whitened(values=vectors).detach().numpy(), atol=1e-6)
    assert not np.allclose(embedded(True), embedded(False), atol=1e-2)
