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
RECIPE = TrainingConfig(precision="float32")


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
    return encode(Toy(), loader(values, usable), batches, len(values), RECIPE, COMPUTE, "toy")


@pytest.mark.parametrize(("count", "size"), [(0, 4), (1, 4), (4, 4), (5, 4), (5, 1)])
def test_every_position_is_in_a_batch_and_every_batch_is_full(count, size):
    batches = full_batches(np.arange(count), size)
    assert all(len(batch) == size for batch in batches)
    assert list(dict.fromkeys(np.concatenate([*batches, np.zeros(0, dtype=int)]).tolist())) == list(range(count))


def test_unit_rows_and_zero_where_unusable():
    found = encoded(np.random.default_rng(0).normal(size=(5, 2)), usable=[True, False, True, True, True])
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 0, 1, 1, 1], abs=1e-6)


def test_nothing_to_embed():
    assert encoded(np.zeros((0, 2))).shape == (0, 2)


def test_no_content_usable_is_no_error():
    assert not encoded(np.ones((3, 2)), usable=[False] * 3).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_what_is_no_number_never_leaves(bad):
    values = np.array([[1.0, 2.0], [bad, bad], [3.0, 1.0]])
    found = encoded(values, size=3)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 0, 1], abs=1e-6)


def test_an_encoder_that_yields_no_numbers_is_refused():
    with pytest.raises(ArtifactError, match="toy: the encoder yields no numbers; train the branch again"):
        encoded(np.full((2, 2), np.nan))


def test_listings_get_the_vector_of_their_content():
    vectors = np.array([[1, 0], [0, 0], [0, 1]], dtype=np.float32)
    embeddings = spread(vectors, np.array([0, 2, 3, 5]), np.array([2, 0, 1, 2]), 6)
    assert embeddings.present.tolist() == [True, False, True, False, False, True]
    assert embeddings.vectors[[0, 2, 5]].tolist() == [[0, 1], [1, 0], [0, 1]]


def test_normalization_of_the_backbone_is_frozen_in_training_mode():
    toy = Toy().train()
    assert toy.training
    assert not toy.backbone[1].training


def test_weights_and_facts_come_back(tmp_path):
    toy, other = Toy(), Toy()
    toy.save(tmp_path, {"branch": "toy", "size": 3})
    other.load(tmp_path)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in toy.state_dict().items())
    assert read_facts(tmp_path, "toy") == {"branch": "toy", "size": 3}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["encoder.json", "encoder.safetensors"]


def test_another_branchs_or_a_damaged_encoder_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"the toy branch needs an encoder; run: python -m branches.toy.train"):
        read_facts(None, "toy")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_facts(tmp_path, "toy")
    Toy().save(tmp_path, {"branch": "other"})
    with pytest.raises(ArtifactError, match="encoder of branch other, not toy"):
        read_facts(tmp_path, "toy")
    (tmp_path / "encoder.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(ArtifactError, match=r"encoder.safetensors cannot be used .*train the branch again"):
        Toy().load(tmp_path)


def test_facts_are_plain_json(tmp_path):
    Toy().save(tmp_path, {"branch": "toy", "mean": (0.5, 0.25)})
    assert json.loads((tmp_path / "encoder.json").read_text()) == {"branch": "toy", "mean": [0.5, 0.25]}


@pytest.mark.parametrize("shrinkage", [0.1, 1.0])
def test_whitening_equals_the_textbook_one(shrinkage):
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
def test_where_nothing_varies_there_is_no_whitening(values):
    assert pca_whitening(values, 0.5) is None


def test_an_encoders_embeddings_are_whitened_once_it_has_learned_how():
    toy, generator = Toy(), torch.Generator().manual_seed(1)
    vectors = functional.normalize(torch.randn(200, 2, generator=generator) + torch.tensor([3.0, 0]))
    assert torch.allclose(toy.whitened(vectors), vectors, atol=1e-6)
    toy.whiten(torch.ones(4, 2), 0.5)  # nothing to learn from: stays
    assert torch.allclose(toy.whitened(vectors), vectors, atol=1e-6)
    toy.whiten(vectors, 0.01)
    found = toy.whitened(vectors)
    assert torch.allclose(found.norm(dim=1), torch.ones(200), atol=1e-6)
    assert found.mean(dim=0).norm() < 0.5 < vectors.mean(dim=0).norm()


def test_a_saved_whitening_comes_back(tmp_path):
    toy, again = Toy(), Toy()
    toy.whiten(torch.randn(50, 2, generator=torch.Generator().manual_seed(1)), 0.5)
    toy.save(tmp_path, {})
    again.load(tmp_path)
    assert torch.equal(again.axes, toy.axes)
    assert not torch.equal(again.axes, torch.eye(2))


def test_embedding_whitens_where_the_settings_say_so():
    toy = Toy()
    toy.whiten(torch.randn(50, 2, generator=torch.Generator().manual_seed(1)) + 1, 0.5)
    vectors = functional.normalize(torch.randn(6, 2, generator=torch.Generator().manual_seed(2)))

    def embedded(whitened):
        recipe = RECIPE.model_copy(update={"whitened": whitened})
        load = lambda at: ({"values": vectors[at]}, np.ones(len(at), dtype=bool))  # noqa: E731
        return encode(toy, load, full_batches(np.arange(6), 4), 6, recipe, COMPUTE, "toy")

    with torch.inference_mode():
        plain = toy.eval()(vectors)
    assert np.allclose(embedded(False), plain.numpy(), atol=1e-6)
    assert np.allclose(embedded(True), toy.whitened(plain).numpy(), atol=1e-6)
    assert not np.allclose(embedded(True), embedded(False), atol=1e-2)
