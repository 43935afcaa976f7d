import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from shared.catalog.split import SplitConfig
from shared.compute import ComputeConfig
from shared.config import STEPS, first_step
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.run import Run
from shared.pipeline.settings import (
    Settings,
    branch_names,
    from_arguments,
    from_file,
    help_text,
    merge,
    portable,
    remembered,
    section_classes,
)


def config_file(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def given_as(section: str, key: str, text: str) -> Any:
    """The checked value of a setting that was given on the command line."""
    settings = Settings(from_arguments([f"--{section}.{key}={text}"]))
    return getattr(settings[section_classes()[section]], key)


# --- what there is ---------------------------------------------------------------------------------------------------


def test_every_folder_of_branches_with_a_config_is_a_branch_with_a_section() -> None:
    assert {"image", "distilbert", "tfidf", "phash"} <= set(branch_names())
    assert set(branch_names()) <= section_classes().keys()
    for name in branch_names():
        assert type(Settings({}).branch(name)).__module__ == f"branches.{name}.config"


def test_every_setting_has_a_description_and_a_valid_default() -> None:
    Settings({})
    for name, cls in section_classes().items():
        assert cls.__doc__
        for key, info in cls.model_fields.items():
            assert info.description, f"{name}.{key}"
            assert not info.is_required(), f"{name}.{key}"


def test_a_step_of_a_branch_that_a_setting_names_exists() -> None:
    for name in branch_names():
        for key, field in section_classes()[name].model_fields.items():
            assert first_step(field) in STEPS, f"{name}.{key}"


def test_help_names_every_setting_with_its_default_and_meaning() -> None:
    text = help_text(section_classes())
    for name, cls in section_classes().items():
        for key, info in cls.model_fields.items():
            assert f"  --{name}.{key}=" in text
            assert info.description is not None
            assert info.description in text
    assert "--split.folds=2\n" in text
    assert "--tfidf.sublinear=true\n" in text


def test_a_default_in_the_help_can_be_given_as_it_stands_there() -> None:
    for line in help_text(section_classes()).splitlines():
        if line.startswith("  --"):
            name, _, text = line.strip().removeprefix("--").partition("=")
            section, _, key = name.partition(".")
            default = getattr(Settings({})[section_classes()[section]], key)
            assert given_as(section, key, text.strip('"')) == default, line


# --- precedence ------------------------------------------------------------------------------------------------------


def test_later_layers_win_key_by_key() -> None:
    layers = [{"a": {"x": 1, "y": 1}, "b": {"z": 1}}, {"a": {"y": 2}}, {"c": {"q": 3}, "a": {"y": 4}}]
    assert merge(*layers) == {"a": {"x": 1, "y": 4}, "b": {"z": 1}, "c": {"q": 3}}
    assert layers[0] == {"a": {"x": 1, "y": 1}, "b": {"z": 1}}


def test_what_is_not_given_takes_its_default_and_is_not_remembered() -> None:
    settings = Settings({"split": {"folds": 3}, "image": {}})
    assert (settings[SplitConfig].folds, settings[SplitConfig].holdout) == (3, 0.2)
    assert settings.values == {"split": {"folds": 3}}


@examples(deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.text(min_size=1),
        st.dictionaries(
            st.text(min_size=1),
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text()),
        ),
    )
)
def test_what_a_run_remembers_comes_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    Run(folder).remember(values)
    assert remembered(folder) == values


def test_a_new_run_remembers_nothing(tmp_path: Path) -> None:
    assert remembered(tmp_path / "none") == {}


@pytest.mark.parametrize("content", ["{", "", '{"split": {"folds": 3}', "\x00"])
def test_damaged_remembered_settings_are_a_bad_artifact(tmp_path: Path, content: str) -> None:
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"settings.json is damaged .*; remove it"):
        remembered(tmp_path)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_all_unknown_names_and_bad_values_are_listed_at_once_with_suggestions() -> None:
    with pytest.raises(MatcherError) as caught:
        Settings(
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


def test_a_fault_between_two_settings_names_the_section_and_both() -> None:
    with pytest.raises(MatcherError) as caught:
        Settings({"tfidf": {"min_chars": "5"}})
    assert str(caught.value).splitlines()[1] == "  - tfidf: min_chars=5 is above max_chars=4"


def test_an_unknown_branch_is_refused_with_a_suggestion() -> None:
    with pytest.raises(MatcherError, match=r"there is no branch 'tfdif'; did you mean 'tfidf'\?"):
        Settings({}).branch("tfdif")


def test_settings_cannot_be_changed_once_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings({})[SplitConfig].folds = 3


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
def test_a_setting_is_read_from_an_argument(section: str, key: str, text: str, value: Any) -> None:
    assert given_as(section, key, text) == value


def test_the_last_of_several_arguments_counts() -> None:
    assert from_arguments(["--split.folds=3", "--split.folds=4", "--image.dim=8"]) == {
        "split": {"folds": "4"},
        "image": {"dim": "8"},
    }


@pytest.mark.parametrize(
    "argument",
    ["split.folds=3", "--split.folds", "--split=3", "--folds=3", "-x", "file", "", "--", "--=", "--.=", "--split.=3"],
)
def test_an_argument_of_another_form_is_refused(argument: str) -> None:
    with pytest.raises(MatcherError, match=r"cannot read .*--section.key=value; see --help"):
        from_arguments([argument])


@pytest.mark.parametrize("text", ["[tfidf", "[a]]", "[}"])
def test_a_list_that_does_not_close_is_refused(text: str) -> None:
    with pytest.raises(MatcherError, match=r"cannot read --ensemble.branches=.*a,b or \[a, b\]"):
        from_arguments([f"--ensemble.branches={text}"])


@pytest.mark.parametrize("text", ["", "[]", "[1, 2]", "[[tfidf]]", "tfidf,tfidf"])
def test_a_list_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(MatcherError, match=r"ensemble.branches(\.0)?="):
        given_as("ensemble", "branches", text)


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_yaml_or_json(tmp_path: Path) -> None:
    values = {"split": {"folds": 3}, "ensemble": {"branches": ["tfidf"]}, "image": {"miner_epsilon": None}}
    for text in (yaml.safe_dump(values), json.dumps(values), "\ufeff" + yaml.safe_dump(values)):
        assert from_file(config_file(tmp_path, text)) == values
    Settings(values)


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "{}"])
def test_an_empty_file_gives_nothing(tmp_path: Path, text: str) -> None:
    assert from_file(config_file(tmp_path, text)) == {}


def test_small_numbers_in_a_file_are_numbers(tmp_path: Path) -> None:
    settings = Settings(from_file(config_file(tmp_path, "image:\n  learning_rate: 1e-5\n")))
    assert settings[section_classes()["image"]].model_dump()["learning_rate"] == 1e-5


@pytest.mark.parametrize("text", ["[]", "0", "false", "text", "- a", "image: 8", "image:\n- epochs", "image.epochs: 8"])
def test_a_file_that_is_not_made_of_sections_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(MatcherError, match=r"settings.yaml: settings are sections with keys, such as"):
        from_file(config_file(tmp_path, text))


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\tx", "a: !!python/object:os.system {}", "{"])
def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(MatcherError, match=r"settings.yaml is not valid YAML"):
        from_file(config_file(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    for path in (tmp_path / "latin", tmp_path / "missing", tmp_path):
        with pytest.raises(MatcherError, match=str(path)):
            from_file(path)


# --- what a step of a branch depends on ------------------------------------------------------------------------------


def test_a_step_depends_on_the_settings_it_reads_and_on_those_of_the_steps_before() -> None:
    config = Settings({}).branch("image")
    keys = {step: set(config.cache_key(step)) for step in STEPS}
    assert (
        keys["train"] < keys["embed"] < keys["candidates"] == set(config.cache_key()) == set(type(config).model_fields)
    )
    assert keys["embed"] - keys["train"] == {"whitening", "embed_batch", "embed_size", "mirror"}
    assert keys["candidates"] - keys["embed"] == {"neighbors"}


def test_cache_key_of_an_unknown_step() -> None:
    with pytest.raises(ValueError, match="tain"):
        Settings({}).branch("image").cache_key("tain")


def test_portable_settings_name_nothing_of_one_machine(tmp_path: Path) -> None:
    values = {
        "data": {"path": "/data", "images": "pics", "title_column": "name", "id_column": str(tmp_path)},
        "image": {"backbone": str(tmp_path), "extra": ["/more"], "epochs": 8},
        "distilbert": {"model": "distilbert/distilbert-base", "extra": []},
        "compute": {"device": "cuda", "threads": 4, "seed": 3},
        "demo": {},
    }
    kept = portable(values)
    assert kept == {
        "data": {"title_column": "name", "id_column": str(tmp_path)},
        "image": {"epochs": 8},
        "distilbert": {"model": "distilbert/distilbert-base"},
        "compute": {"seed": 3},
    }
    assert portable(kept) == kept


def test_the_number_of_threads_is_that_of_the_machine_unless_given() -> None:
    assert ComputeConfig().cpu_threads >= 1
    assert ComputeConfig(threads=3).cpu_threads == 3
