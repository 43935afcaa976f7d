from shared.branch import weights
from shared.section import Section


class Config(Section):
    model: str = "resnet18"


def test_changed_weights_in_a_named_folder_change_the_inputs_of_training(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"one")
    config = Config(model=str(tmp_path))
    before = weights(config)
    assert list(before) == [str(tmp_path / "model.safetensors")]
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert weights(config) != before


def test_a_name_that_is_no_path_reads_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet18").mkdir()
    (tmp_path / "resnet18" / "stray.txt").write_text("not weights")
    assert weights(Config()) == {}
    assert weights(Config(model="huggingface/name")) == {}
