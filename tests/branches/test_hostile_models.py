"""What somebody else describes in the folder of a model runs no code, reads nothing else and asks for no memory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import branches.distilbert.model as titles
import branches.image.model as images
from branches.distilbert.config import Config as TitleConfig
from branches.image.config import Config as ImageConfig
from shared.errors import ArtifactError, MatcherError
from shared.training.encoder import read_facts

CODE = """
from pathlib import Path
Path({marker!r}).write_text("ran")
class Evil:
    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        return cls()
"""
OTHERS: list[Any] = [None, True, -1, 0, 10**30, 1.5, "x", "../x", [], [[]], {}, {"a": 1}]


@pytest.fixture(scope="module")
def title_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("titles")
    encoder, tokenizer = titles.create_model(TitleConfig())
    encoder.backbone.transformer.layer = encoder.backbone.transformer.layer[:1]
    encoder.backbone.config.n_layers = 1
    tokenizer.save_pretrained(folder / "tokenizer")
    encoder.save(folder, titles.describe(encoder, TitleConfig()))
    return folder


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    config = ImageConfig(dim=8, size=64)
    encoder, preprocessing = images.create_model(config)
    encoder.save(folder, images.describe(encoder, preprocessing, config))
    return folder


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a model; its weights are a second name."""

    def copy(model: Path) -> Path:
        for path in model.rglob("*"):
            to = tmp_path / "model" / path.relative_to(model)
            to.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".safetensors":
                to.hardlink_to(path)
            elif path.is_file():
                to.write_bytes(path.read_bytes())
        return tmp_path / "model"

    return copy


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.fault(33)
@pytest.mark.parametrize("auto_map", [{"AutoTokenizer": ["evil.Evil", "evil.Evil"]}, ["evil.Evil", None], "evil.Evil"])
def test_tokenizer_that_names_code_neither_runs_it_nor_asks(
    title_model: Path, copied: Callable[[Path], Path], auto_map: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = copied(title_model), list[str]()
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "y")
    (folder / "tokenizer" / "evil.py").write_text(CODE.format(marker=str(tmp_path / "marker")))
    for name in ("NoSuchTokenizer", "BertTokenizer", "../evil.Evil"):
        change(folder / "tokenizer" / "tokenizer_config.json", auto_map=auto_map, tokenizer_class=name)
        _, tokenizer = titles.restore(read_facts(folder, "distilbert"), folder)
        assert tokenizer(["red mug"])["input_ids"] == [[101, 2417, 14757, 102]]
    assert asked == []
    assert not (tmp_path / "marker").exists()


@pytest.mark.fault(33)
def test_user_s_model_folder_that_names_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title_model: Path
) -> None:
    asked = list[str]()
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "y")
    auto_map = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto_map}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto_map, "tokenizer_class": "Evil"}))
    (tmp_path / "evil.py").write_text(CODE.format(marker=str(tmp_path / "marker")))
    with pytest.raises(MatcherError, match="cannot load its files"):
        titles.create_model(TitleConfig(model=str(tmp_path)))
    assert asked == []
    assert not (tmp_path / "marker").exists()


@pytest.mark.fault(32, 33)
@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "timm_wrapper", "architecture": "hf-hub:evil/model"},
        {"model_type": "llava"},
        {"model_type": "no such type"},
        {"vocab_size": 10**12},
        {"dim": 2**40, "n_heads": 1},
        {"n_layers": 10**9},
        {"n_layers": 2},
        {"activation": "no such function"},
    ],
)
def test_title_model_of_another_kind_or_size_is_refused(
    title_model: Path, copied: Callable[[Path], Path], values: dict[str, Any]
) -> None:
    folder = copied(title_model)
    facts = read_facts(folder, "distilbert")
    change(folder / "encoder.json", architecture=facts["architecture"] | values)
    with pytest.raises(ArtifactError, match=r"encoder\.json is damaged"):
        titles.restore(read_facts(folder, "distilbert"), folder)


@pytest.mark.fault(33)
def test_title_model_takes_no_code_of_another_place(title_model: Path, copied: Callable[[Path], Path]) -> None:
    folder = copied(title_model)
    facts = read_facts(folder, "distilbert")
    more = {"auto_map": {"AutoModel": "evil.Evil"}, "_attn_implementation": "evil/kernel", "attn_implementation": "e/k"}
    change(folder / "encoder.json", architecture=facts["architecture"] | more)
    encoder, _ = titles.restore(read_facts(folder, "distilbert"), folder)
    config: Any = encoder.backbone.config
    assert config._attn_implementation in ("eager", "sdpa")


@pytest.mark.fault(33)
@pytest.mark.parametrize(
    "name",
    ["hf-hub:evil/model", "local-dir:/etc", "resnet18.hf-hub:x", "../x", "https://evil/x", "resnet18\n", "", "no_net"],
)
def test_image_model_of_no_network_that_timm_has_is_refused(
    image_model: Path, copied: Callable[[Path], Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(image_model)
    change(folder / "encoder.json", architecture=name)
    monkeypatch.setattr("timm.create_model", lambda *args, **options: pytest.fail("asked timm"))
    with pytest.raises(MatcherError, match=r"neither a folder nor a network|damaged"):
        images.restore(read_facts(folder, "image"), folder)


@pytest.mark.fault(33)
def test_user_s_image_folder_of_other_weights_or_a_hub_is_refused(tmp_path: Path) -> None:
    change_to = [
        ({"architecture": "hf-hub:evil/model"}, "neither a folder nor a network"),
        ({"architecture": ["resnet18"]}, "no config.json of a timm network"),
        ({}, "no config.json of a timm network"),
    ]
    (tmp_path / "model.safetensors").write_bytes(b"")
    for content, words in change_to:
        (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(MatcherError, match=words):
            images.create_model(ImageConfig(backbone=str(tmp_path)))
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    with pytest.raises(MatcherError, match=r"no model\.safetensors there"):
        images.create_model(ImageConfig(backbone=str(tmp_path)))


@pytest.mark.fault(33)
@pytest.mark.parametrize(
    "key", ["branch", "architecture", "pooling", "dim", "head_dim", "size", "mean", "std", "interpolation"]
)
def test_image_model_with_a_value_of_another_type(image_model: Path, copied: Callable[[Path], Path], key: str) -> None:
    folder = copied(image_model)
    for other in OTHERS:
        change(folder / "encoder.json", **{key: other})
        with pytest.raises(MatcherError):
            images.restore(read_facts(folder, "image"), folder)


@pytest.mark.fault(32)
@pytest.mark.parametrize("content", ["[]", "null", "[" * 100_000, '{"branch": "image"', ""])
def test_encoder_json_that_is_something_else(image_model: Path, copied: Callable[[Path], Path], content: str) -> None:
    folder = copied(image_model)
    (folder / "encoder.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"encoder\.json is damaged"):
        read_facts(folder, "image")
