"""Settings: where they come from, which are refused, and what is shown of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from branches import registry
from ensemble import sections as ensemble_sections
from shared.catalog.split import SplitConfig
from shared.compute import ComputeConfig
from shared.config import STEPS, AffectsFrom
from shared.errors import MatcherError
from shared.pipeline.settings import (
    Settings,
    _Loader,
    from_arguments,
    from_file,
    help_text,
    merge,
    nearest,
    parse_list,
    portable,
)
from tests.support.timing import assert_linear

SECTIONS = ensemble_sections.sections()
TEXT = "tag:yaml.org,2002:str"


def settings(values: dict[str, dict[str, Any]], **options: Any) -> Settings:
    return Settings(values, SECTIONS, **options)


def config_file(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def value_of(section: str, key: str, text: str) -> Any:
    """The checked value of a setting that is given on the command line."""
    values = from_arguments([f"--{section}.{key}={text}"], SECTIONS)
    return getattr(settings(values)[SECTIONS[section]], key)


# --- what there is ---------------------------------------------------------------------------------------------------


def test_every_branch_has_a_section() -> None:
    assert {"image", "distilbert", "tfidf", "phash"} <= set(registry.names()) <= SECTIONS.keys()
    for name in registry.names():
        section = settings({})[registry.get(name).Config]
        assert type(section).__module__ == f"branches.{name}.config"


def test_every_setting_has_a_description_and_a_valid_default() -> None:
    settings({})
    for name, cls in SECTIONS.items():
        assert cls.__doc__
        for key, info in cls.model_fields.items():
            assert info.description, f"{name}.{key}"
            assert not info.is_required(), f"{name}.{key}"


def test_step_of_every_setting_exists() -> None:
    for name in registry.names():
        for key, field in registry.get(name).Config.model_fields.items():
            steps = [mark.step for mark in field.metadata if isinstance(mark, AffectsFrom)]
            assert len(steps) <= 1, f"{name}.{key}"
            assert set(steps) <= set(STEPS) - {"train"}, f"{name}.{key}"


def test_help_text_of_every_setting() -> None:
    text = help_text(SECTIONS, SECTIONS)
    for name, cls in SECTIONS.items():
        for key, info in cls.model_fields.items():
            assert f"  --{name}.{key}=" in text
            assert info.description is not None
            assert info.description in text
    assert "--split.folds=2\n" in text
    assert "--tfidf.sublinear=true\n" in text


def test_help_text_of_some_sections() -> None:
    text = help_text(SECTIONS, ["compute", "split"])
    assert text.index("\ncompute: ") < text.index("\nsplit: ")
    assert "--image." not in text


def test_help_text_defaults_can_be_given() -> None:
    for line in help_text(SECTIONS, SECTIONS).splitlines():
        if line.startswith("  --"):
            name, _, text = line.strip().removeprefix("--").partition("=")
            section, _, key = name.partition(".")
            default = getattr(settings({})[SECTIONS[section]], key)
            assert value_of(section, key, text.strip('"')) == default, line


# --- precedence ------------------------------------------------------------------------------------------------------


def test_merge_key_by_key() -> None:
    layers = [{"a": {"x": 1, "y": 1}, "b": {"z": 1}}, {"a": {"y": 2}}, {"c": {"q": 3}, "a": {"y": 4}}]
    assert merge(*layers) == {"a": {"x": 1, "y": 4}, "b": {"z": 1}, "c": {"q": 3}}
    assert layers[0] == {"a": {"x": 1, "y": 1}, "b": {"z": 1}}


def test_values_are_those_given() -> None:
    some = settings({"split": {"folds": 3}, "image": {}})
    assert (some[SplitConfig].folds, some[SplitConfig].holdout) == (3, 0.2)
    assert some.values == {"split": {"folds": 3}}


def test_changed() -> None:
    some = settings({"split": {"folds": 3}, "lengths": {"x": 1}}, carry=True)
    other = some.changed({"split": {"folds": 4}}, {"compute": {"seed": 1}})
    assert other.values == {"split": {"folds": 4}, "lengths": {"x": 1}, "compute": {"seed": 1}}
    assert (some[SplitConfig].folds, other[SplitConfig].folds, other[ComputeConfig].seed) == (3, 4, 1)


def test_name_of() -> None:
    assert {settings({}).name_of(cls) for cls in SECTIONS.values()} == SECTIONS.keys()
    assert settings({}).name_of(SplitConfig) == "split"


def test_carry_keeps_other_sections_unread() -> None:
    values = {"lengths": {"x": 1}, "split": {"folds": 3}}
    assert settings(values, carry=True).values == values
    with pytest.raises(MatcherError, match="there is no section 'lengths'"):
        settings(values)
    with pytest.raises(MatcherError, match="did you mean 'folds'"):
        settings(values | {"split": {"fold": 3}}, carry=True)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_faults_are_listed_at_once() -> None:
    with pytest.raises(MatcherError) as caught:
        settings(
            {
                "imagee": {"epochs": 1},
                "split": {"fold": 3, "holdout": 1.5, "folds": "many"},
                "image": {"pooling": "max"},
                "zzz": {"y": 1},
            }
        )
    message = str(caught.value)
    assert message.startswith("settings: 6 faults")
    assert "there is no section 'imagee'; did you mean 'image'?" in message
    assert "there is no section 'zzz'; there are: data, demo, split" in message
    assert "there is no setting split.fold; did you mean 'folds'?" in message
    assert "split.holdout=1.5: input should be less than 1" in message
    assert "split.folds='many': input should be a valid integer" in message
    assert "image.pooling='max': input should be 'gem' or 'avg'" in message


def test_fault_between_two_settings() -> None:
    with pytest.raises(MatcherError) as caught:
        settings({"tfidf": {"min_chars": "5"}})
    assert str(caught.value).splitlines()[1] == "  - tfidf: min_chars=5 is above max_chars=4"


def test_unknown_branch() -> None:
    with pytest.raises(MatcherError, match=r"there is no branch 'tfdif'; did you mean 'tfidf'\?"):
        registry.get("tfdif")


def test_nearest() -> None:
    assert nearest("fold", ["folds", "holdout"]) == "; did you mean 'folds'?"
    assert nearest("zzz", ["folds", "holdout"]) == "; there are: folds, holdout"


def test_section_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings({})[SplitConfig].folds = 3  # type: ignore[misc]


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "key", "text", "value"),
    [
        ("split", "folds", "3", 3),
        ("split", "holdout", "1e-1", 0.1),
        ("tfidf", "sublinear", "false", False),
        ("data", "title_column", "", ""),
        ("data", "title_column", "a=b.c", "a=b.c"),
        ("data", "title_column", "null", "null"),
        ("data", "title_column", "[odd", "[odd"),
        ("image", "miner_epsilon", "null", None),
        ("image", "miner_epsilon", "0.2", 0.2),
        ("ensemble", "branches", "tfidf,phash", ["tfidf", "phash"]),
        ("ensemble", "branches", "tfidf", ["tfidf"]),
        ("ensemble", "branches", "[tfidf, phash]", ["tfidf", "phash"]),
        ("ensemble", "branches", '["tfidf", "phash"]', ["tfidf", "phash"]),
        ("tune", "rules", "threshold,min2", ["threshold", "min2"]),
    ],
)
def test_from_arguments_value(section: str, key: str, text: str, value: Any) -> None:
    assert value_of(section, key, text) == value


def test_from_arguments_last_counts() -> None:
    assert from_arguments(["--split.folds=3", "--split.folds=4", "--image.dim=8"], SECTIONS) == {
        "split": {"folds": "4"},
        "image": {"dim": "8"},
    }


@pytest.mark.parametrize(
    "argument",
    ["split.folds=3", "--split.folds", "--split=3", "--folds=3", "-x", "file", "", "--", "--=", "--.=", "--split.=3"],
)
def test_from_arguments_of_another_form(argument: str) -> None:
    with pytest.raises(MatcherError, match=r"cannot read .*--section.key=value; see --help"):
        from_arguments([argument], SECTIONS)


def test_from_arguments_unknown_section() -> None:
    for name, advice in (("spilt", "did you mean 'split'"), ("zzz", "there are: data, demo")):
        with pytest.raises(MatcherError, match=rf"{name}.x is not a setting of this command; {advice}"):
            from_arguments([f"--{name}.x=3"], SECTIONS)


@pytest.mark.parametrize("text", ["[tfidf", "[a]]", "[}"])
def test_from_arguments_list_that_does_not_close(text: str) -> None:
    with pytest.raises(MatcherError, match=r"cannot read --ensemble.branches=.*a,b or \[a, b\]"):
        from_arguments([f"--ensemble.branches={text}"], SECTIONS)


@pytest.mark.parametrize("text", ["", "[]", "[1, 2]", "[[tfidf]]", "tfidf,tfidf"])
def test_from_arguments_list_of_something_else(text: str) -> None:
    with pytest.raises(MatcherError, match=r"ensemble.branches(\.0)?="):
        value_of("ensemble", "branches", text)


# --- files -----------------------------------------------------------------------------------------------------------


def test_from_file_yaml_or_json(tmp_path: Path) -> None:
    values = {"split": {"folds": 3}, "ensemble": {"branches": ["tfidf"]}, "image": {"miner_epsilon": None}}
    for text in (yaml.safe_dump(values), json.dumps(values), "\ufeff" + yaml.safe_dump(values)):
        assert from_file(config_file(tmp_path, text)) == values
    settings(values)


def test_from_file_json_that_is_no_yaml(tmp_path: Path) -> None:
    values = {"data": {"path": "/tmp/📷"}, "split": {"folds": 3}}
    for text in (json.dumps(values), json.dumps(values, indent="\t"), "\n" + json.dumps(values)):
        (tmp_path / "settings.json").write_text(text)
        assert from_file(tmp_path / "settings.json") == values


@pytest.mark.parametrize("value", ["!!int ''", "!!bool x", "!!float x", "!!timestamp x", "!!binary é"])
def test_from_file_value_that_its_tag_forbids(tmp_path: Path, value: str) -> None:
    (tmp_path / "x.yaml").write_text(f"compute: {{threads: {value}}}", encoding="utf-8")
    with pytest.raises(MatcherError, match=r"x\.yaml is not valid YAML"):
        from_file(tmp_path / "x.yaml")


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "{}"])
def test_from_file_empty(tmp_path: Path, text: str) -> None:
    assert from_file(config_file(tmp_path, text)) == {}


def test_from_file_small_number(tmp_path: Path) -> None:
    some = settings(from_file(config_file(tmp_path, "image:\n  learning_rate: 1e-5\n")))
    assert some[SECTIONS["image"]].model_dump()["learning_rate"] == 1e-5


@pytest.mark.parametrize("text", ["[]", "0", "false", "text", "- a", "image: 8", "image:\n- epochs", "image.epochs: 8"])
def test_from_file_not_made_of_sections(tmp_path: Path, text: str) -> None:
    with pytest.raises(MatcherError, match=r"settings.yaml: settings are sections with keys, such as"):
        from_file(config_file(tmp_path, text))


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\tx", "a: !!python/object:os.system {}", "{"])
def test_from_file_not_yaml(tmp_path: Path, text: str) -> None:
    with pytest.raises(MatcherError, match=r"settings.yaml is not valid YAML"):
        from_file(config_file(tmp_path, text))


def test_from_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    for path in (tmp_path / "latin", tmp_path / "missing", tmp_path):
        with pytest.raises(MatcherError, match=str(path)):
            from_file(path)


# --- what a step of a branch depends on ------------------------------------------------------------------------------


def test_cache_key_of_a_step() -> None:
    config = settings({})[registry.get("image").Config]
    keys = {step: set(config.cache_key(step)) for step in STEPS}
    assert (
        keys["train"] < keys["embed"] < keys["candidates"] == set(config.cache_key()) == set(type(config).model_fields)
    )
    assert keys["candidates"] - keys["embed"] == {"neighbors", "search", "approximate_from"}
    assert "epochs" in keys["train"]


def test_cache_key_of_compute() -> None:
    assert ComputeConfig(seed=3, threads=2, device="cpu").cache_key() == {"seed": 3}


def test_cache_key_is_json() -> None:
    for cls in SECTIONS.values():
        assert json.loads(json.dumps(cls().cache_key())) == cls().cache_key()


def test_portable_names_nothing_of_one_machine(tmp_path: Path) -> None:
    values = {
        "data": {"path": "/data", "images": "pics", "title_column": "name", "id_column": str(tmp_path)},
        "image": {"backbone": str(tmp_path), "extra": ["/more"], "epochs": 8},
        "distilbert": {"model": "distilbert/distilbert-base", "extra": []},
        "compute": {"device": "cuda", "threads": 4, "seed": 3},
        "demo": {},
    }
    kept = portable(values, registry.names())
    assert kept == {
        "data": {"title_column": "name", "id_column": str(tmp_path)},
        "image": {"epochs": 8},
        "distilbert": {"model": "distilbert/distilbert-base"},
        "compute": {"seed": 3},
    }
    assert portable(kept, registry.names()) == kept


def test_cpu_threads() -> None:
    assert ComputeConfig().cpu_threads >= 1
    assert ComputeConfig(threads=3).cpu_threads == 3


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[" * 100_000, "nested deeper than 32"),
        ("{a: " * 40 + "1" + "}" * 40, "nested deeper than 32"),
        ("a: &x [1]\nb: *x", "refers to a part of itself"),
        ("compute: {threads: 1}\ncompute: {threads: 2}", "the key 'compute' twice"),
        ("compute: {threads: 1, threads: 2}", "the key 'threads' twice"),
        ("a: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ("\x00", "not valid YAML"),
        ("#" * 2**20 + "\n", "larger than 1,048,576 bytes"),
    ],
)
def test_settings_file_that_was_made_to_do_harm_is_one_error(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(MatcherError, match=fault):
        from_file(tmp_path / "x.yaml")


@pytest.mark.fault(32)
@pytest.mark.fault(32)
def test_very_many_keys_of_a_settings_file_are_read_in_time_proportional_to_their_number() -> None:
    def prepare(count: int) -> Callable[[], object]:
        pairs = [(yaml.ScalarNode(TEXT, str(number)), yaml.ScalarNode(TEXT, "0")) for number in range(count)]
        return lambda: _Loader("").construct_mapping(yaml.MappingNode("tag:yaml.org,2002:map", pairs))

    assert_linear(prepare, 12_000)


def test_list_of_a_setting_that_is_nested_too_deep_is_one_error() -> None:
    with pytest.raises(MatcherError, match="a list is written a,b"):
        parse_list("data.path", "[" * 10_000)
