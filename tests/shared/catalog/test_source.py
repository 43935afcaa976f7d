"""Where tables and image folders are looked for."""

from pathlib import Path

import pytest

from shared.catalog.config import DataConfig
from shared.catalog.source import Source, Sources, find_source, find_sources, has_test, new_source
from shared.errors import MatcherError
from tests.support.listings import fault_of, read, rows_of, write


def test_kaggle_folder(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of("1"))
    assert find_source(tmp_path, DataConfig()) == Source(tmp_path / "train.csv", None)
    assert find_source(tmp_path, DataConfig(), test=True).table == tmp_path / "train.csv"
    assert not has_test(tmp_path)
    write(tmp_path / "test.csv.gz", rows_of("2"))
    (tmp_path / "train_images").mkdir()
    (tmp_path / "test_images").mkdir()
    assert find_source(tmp_path, DataConfig()) == Source(tmp_path / "train.csv", tmp_path / "train_images")
    assert find_source(tmp_path, DataConfig(), test=True) == Source(tmp_path / "test.csv.gz", tmp_path / "test_images")
    assert has_test(tmp_path)
    assert read(tmp_path, labeled=False, test=True).ids.tolist() == ["2"]


def test_image_folder_of_a_single_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write(tmp_path / "offers.csv", rows_of("1"))
    places = [tmp_path, tmp_path / "images", tmp_path / "offers_images"]
    for place in places:  # each goes before those made so far
        place.mkdir(exist_ok=True)
        assert find_source(table, DataConfig()).images == place
    (tmp_path / "pics").mkdir()
    (tmp_path / "elsewhere" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_source(table, DataConfig(images="pics")).images == tmp_path / "pics"
    assert find_source(table, DataConfig(images="mine")).images == tmp_path / "elsewhere" / "mine"
    with pytest.raises(MatcherError, match=r"data.images=none: no such folder, neither as it is nor in .* nor in"):
        find_source(table, DataConfig(images="none"))


def test_nothing_to_read(tmp_path: Path) -> None:
    assert "no such file or folder" in fault_of(tmp_path / "none")
    assert "no train.csv in it (nor train.csv.gz" in fault_of(tmp_path)
    (tmp_path / "notes.md").touch()
    assert "not a table; a table's name ends with .csv" in fault_of(tmp_path / "notes.md")
    (tmp_path / "train.csv").mkdir()
    assert "not a regular file" in fault_of(tmp_path)
    write(tmp_path / "train.jsonl", rows_of("1"))
    assert "holds train.csv and train.jsonl" in fault_of(tmp_path)


def test_both_tables_of_a_folder_are_sources(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of("1"))
    train = Source(tmp_path / "train.csv", None)
    assert find_sources(tmp_path, DataConfig()) == Sources(train, None)
    assert find_sources(train.table, DataConfig()) == Sources(find_source(train.table, DataConfig()), None)
    write(tmp_path / "test.parquet", rows_of("2"))
    (tmp_path / "test_images").mkdir()
    test = Source(tmp_path / "test.parquet", tmp_path / "test_images")
    assert find_sources(tmp_path, DataConfig()) == Sources(train, test)
    assert find_sources(tmp_path, DataConfig()).test == find_source(tmp_path, DataConfig(), test=True)


def test_source_with_missing_or_ambiguous_tables(tmp_path: Path) -> None:
    write(tmp_path / "test.csv", rows_of("2"))
    with pytest.raises(MatcherError, match=r"no train\.csv in it"):
        find_sources(tmp_path, DataConfig())
    assert find_source(tmp_path, DataConfig(), test=True).table == tmp_path / "test.csv"
    write(tmp_path / "train.csv", rows_of("1"))
    write(tmp_path / "test.jsonl", rows_of("2"))
    with pytest.raises(MatcherError, match=r"holds test\.csv and test\.jsonl; name the table to read"):
        find_sources(tmp_path, DataConfig())


def test_names_of_several_sources() -> None:
    paths = ["/a/shop.csv", "/b/Shop", "/c/shop-2.tsv.gz", "demo", "/d/my data (1)", "/e/x.work", "/f/???"]
    names = DataConfig(path=paths).sources
    assert names == ["shop", "Shop-2", "shop-2-2", "demo", "my_data_1", "x_work", "catalog"]
    assert DataConfig(path=["/a/shop.csv"]).sources == DataConfig().sources == [""]


def test_new_catalog_is_one(tmp_path: Path) -> None:
    with pytest.raises(MatcherError, match="--data names 2 catalogs; name one"):
        new_source(DataConfig(path=[str(tmp_path / "a"), str(tmp_path / "b")]))
