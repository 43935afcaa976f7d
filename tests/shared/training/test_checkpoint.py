import pytest
import torch

from shared.training.checkpoint import load_tensors, save_tensors


@pytest.fixture
def saved(tmp_path):
    tensors = {"a": torch.randn(3, 4).T, "step": torch.tensor(7), "flags": torch.tensor([True, False])}
    path = tmp_path / "state.safetensors"
    save_tensors(path, tensors, {"step": 7, "names": ["é"]})
    return path, tensors


def test_load_returns_what_was_saved(saved):
    path, tensors = saved
    loaded, facts = load_tensors(path)
    assert facts == {"step": 7, "names": ["é"]}
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert [p.name for p in path.parent.iterdir()] == ["state.safetensors"]


def test_save_same_state_same_bytes(saved):
    path, tensors = saved
    before = path.read_bytes()
    save_tensors(path, tensors, {"step": 7, "names": ["é"]})
    assert path.read_bytes() == before


@pytest.mark.fault(20)
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "html"])
def test_load_damaged_file(saved, damage):
    path, _ = saved
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    cases = {"flip": bytes(data), "truncate": path.read_bytes()[:-5], "empty": b"", "html": b"<html>" * 9}
    path.write_bytes(cases[damage])
    with pytest.raises(ValueError, match="state"):
        load_tensors(path)
