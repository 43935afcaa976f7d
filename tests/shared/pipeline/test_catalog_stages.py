"""The stages from the user's data to the listings of every pool."""

import os
import shutil
import time
from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest

from shared.catalog import image_folder, image_memo, images
from shared.catalog.config import DataConfig
from shared.demo.shops.plan import FIRST_LABEL
from shared.errors import MatcherError
from shared.pipeline.catalog_stages import IMAGE_MEMO, TEST, TRAIN, catalog_stages, sources_of
from shared.pipeline.pools import (
    CATALOG_POOL,
    HOLDOUT_POOL,
    all_pools,
    catalog_pool,
    fold_pools,
    holdout_pool,
    load_catalog,
    load_set_aside,
    load_split,
)
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph
from shared.pipeline.update import update_stages
from shared.schema import Catalog
from tests.support.catalog_runs import settings_of, update
from tests.support.tables import TEST_ROWS, read_rows, write_rows

FOLDS = fold_pools(3)


def pool(run: Path, name: str) -> Catalog:
    return load_catalog(RunFolder(run).open(name))


@pytest.fixture(scope="module")
def whole(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the demo's 40 listings. Not to be written to."""
    run = tmp_path_factory.mktemp("whole") / "run"
    update(run, settings_of(demo_folder))
    return run


# --- who is in which pool --------------------------------------------------------------------------------------------


def test_pools_partition_the_labeled_catalog(whole: Path) -> None:
    parts = [pool(whole, each.stage).ids.tolist() for each in (*FOLDS, HOLDOUT_POOL)]
    assert len(parts) == 4
    assert all(len(part) > 1 for part in parts)
    assert sorted(chain(*parts)) == sorted(pool(whole, TRAIN).ids)


@pytest.mark.fault(26)
def test_pools_share_no_product(whole: Path) -> None:
    pools = [pool(whole, each.stage) for each in (*FOLDS, HOLDOUT_POOL)]
    for column in ("label_group", "image_sha", "title"):
        for one, other in combinations(pools, 2):
            assert not set(one.column(column)) & set(other.column(column)) - {None}, column


def test_pool_keeps_the_order_of_the_table(whole: Path, demo_folder: Path) -> None:
    order = [row["posting_id"] for row in read_rows(demo_folder / "train.csv")]
    assert pool(whole, TRAIN).ids.tolist() == order
    for each in all_pools(3):
        ids = pool(whole, each.stage).ids.tolist()
        assert ids == sorted(ids, key=order.index)


def test_catalog_pool_without_test_listings(whole: Path) -> None:
    catalog = pool(whole, CATALOG_POOL.stage)
    assert catalog.ids.tolist() == pool(whole, TRAIN).ids.tolist()
    assert set(catalog.labels) == {None}


def test_catalog_pool_with_test_listings(tested: Path, tmp_path: Path) -> None:
    update(tmp_path / "run", settings_of(tested))
    catalog = pool(tmp_path / "run", CATALOG_POOL.stage)
    assert catalog.ids.tolist() == [row["posting_id"] for row in read_rows(tested / "test.csv")]
    assert set(catalog.labels) == set(pool(tmp_path / "run", TEST).labels) == {None}
    assert catalog.has_image.all()
    assert catalog.image_folder == tested / "test_images"
    assert len(pool(tmp_path / "run", TRAIN)) == 40 - TEST_ROWS


# --- what a change does again ----------------------------------------------------------------------------------------


@pytest.mark.fault(22)
def test_change_of_seed_splits_anew(demo_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    update(run, settings_of(demo_folder))
    before = load_split(RunFolder(run).open("split")).fold.tolist()
    done = update(run, settings_of(demo_folder, compute={"seed": 1}))
    assert done == ["split", *(each.stage for each in (*FOLDS, HOLDOUT_POOL))]
    assert load_split(RunFolder(run).open("split")).fold.tolist() != before


def test_change_of_a_test_listing_leaves_the_labeled_ones(tested: Path, tmp_path: Path) -> None:
    settings = settings_of(tested)
    update(tmp_path / "run", settings)
    for path in (tested / "test.csv", tested / "train.csv", *(tested / "train_images").iterdir()):
        os.utime(path, (1, 1))
    assert update(tmp_path / "run", settings) == []
    write_rows(tested / "test.csv", read_rows(tested / "test.csv")[1:])
    assert update(tmp_path / "run", settings) == [TEST, CATALOG_POOL.stage]


@pytest.mark.fault(22)
def test_change_of_an_image(tested: Path, tmp_path: Path) -> None:
    settings = settings_of(tested)
    update(tmp_path / "run", settings)
    first, second = (tested / "train_images" / row["image"] for row in read_rows(tested / "train.csv")[:2])
    shutil.copy(second, first)
    assert update(tmp_path / "run", settings)[:2] == [TRAIN, "split"]


def test_images_are_read_again_after_a_change(tested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    past = time.time() - 60
    pictures = sorted([*(tested / "train_images").iterdir(), *(tested / "test_images").iterdir()])
    for path in pictures:
        os.utime(path, (past, past))
    read: list[Path] = []
    plain = images.read_bytes

    def counted(path: Path) -> bytes:
        content = plain(path)
        if path.name != IMAGE_MEMO:
            read.append(path)
        return content

    for module in (image_memo, image_folder, images):
        if hasattr(module, "read_bytes"):
            monkeypatch.setattr(module, "read_bytes", counted)
    settings = settings_of(tested)
    update(tmp_path / "run", settings)
    assert {path for path in read if path.parent.name == "train_images"}
    assert (tmp_path / "run" / IMAGE_MEMO).exists()
    read.clear()
    assert update(tmp_path / "run", settings) == []
    assert read == []
    used = tested / "train_images" / read_rows(tested / "train.csv")[0]["image"]
    os.utime(used, (past + 1, past + 1))
    assert update(tmp_path / "run", settings) == []
    assert read == [used]


def test_redo(demo_folder: Path, tmp_path: Path) -> None:
    settings = settings_of(demo_folder)
    update(tmp_path / "run", settings, ["split"])
    assert update(tmp_path / "run", settings, ["split"], redo=["split"]) == ["split"]


# --- the demo --------------------------------------------------------------------------------------------------------

DEMO = settings_of(None, demo={"listings": 40})


def test_moved_run_finds_the_images_of_its_demo(tmp_path: Path) -> None:
    update(tmp_path / "old", DEMO)
    (tmp_path / "old").rename(tmp_path / "new")
    assert "demo" not in update(tmp_path / "new", DEMO)
    catalog = pool(tmp_path / "new", TRAIN)
    assert all(path is None or path.exists() for path in catalog.image_paths())
    assert catalog.has_image.any()


@pytest.mark.fault(17)
def test_demo_that_was_killed_is_made_anew(tmp_path: Path) -> None:
    run = tmp_path / "run"
    update(run, DEMO, ["demo"])
    made = RunFolder(run).digest_of("demo")
    (run / "demo").rename(run / "demo.work")
    (run / "demo.work" / "manifest.json").rename(run / "demo.work" / "key")
    (run / "demo.work" / "data" / "train.csv").unlink()
    update(run, DEMO, ["demo"])
    assert RunFolder(run).digest_of("demo") == made
    assert not (run / "demo.work").exists()


@pytest.mark.parametrize(("kind", "share"), [("marketplace", 0), ("mixed", 0.5), ("shops", 1)])
def test_demo_is_of_the_kind_that_is_set(kind: str, share: float, tmp_path: Path) -> None:
    update(tmp_path / "run", settings_of(None, demo={"listings": 40, "kind": kind}))
    labels = pool(tmp_path / "run", TRAIN).labels
    assert sum(int(label) >= FIRST_LABEL for label in labels) == 40 * share


# --- several catalogs ------------------------------------------------------------------------------------------------


def several(*paths: Path | str, **sections: dict[str, Any]) -> Settings:
    """Settings of two folds on several catalogs."""
    data = {"path": [str(path) for path in paths]}
    return settings_of(None, data=data, split={"folds": 2}, **sections)


def offers(path: Path, ids: Sequence[str]) -> Path:
    """Write a table of products of two offers each, which have no image."""
    rows = [
        {"posting_id": name, "title": f"offer {row} of thing{row // 2}", "label_group": f"g{row // 2}"}
        for row, name in enumerate(ids)
    ]
    write_rows(path, rows)
    return path


def test_sources_have_pools_of_their_own_with_their_own_ids(demo_folder: Path, tmp_path: Path) -> None:
    rows = read_rows(demo_folder / "train.csv")
    table = offers(tmp_path / "offers.csv", [row["posting_id"] for row in rows])
    run, settings = tmp_path / "run", several(demo_folder, table)
    update(run, settings)
    names = settings[DataConfig].sources
    assert names == [demo_folder.name, "offers"]
    assert len(pool(run, TRAIN)) == 80
    for name, path in zip(names, (demo_folder / "train.csv", table), strict=True):
        written = {row["posting_id"]: row for row in read_rows(path)}
        pools = [*fold_pools(2, [name]), holdout_pool(name)]
        parts = [pool(run, each.stage) for each in pools]
        assert sorted(chain(*(part.ids for part in parts))) == sorted(written)
        for part in parts:
            assert [written[posting_id]["title"] for posting_id in part.ids] == part.titles.tolist()
            assert [written[posting_id]["label_group"] for posting_id in part.ids] == part.labels.tolist()
        assert pool(run, catalog_pool(name).stage).ids.tolist() == list(written)
    assert update(run, settings) == []


def test_sources_may_have_test_tables(tested: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    offers(other / "train.csv", list("abcdefghij"))
    write_rows(other / "test.csv", [{"posting_id": "a", "title": "mug"}, {"posting_id": "z", "title": "fan"}])
    third = offers(tmp_path / "third.csv", list("abcdefghij"))
    third.write_text(third.read_text().replace("thing", "article"))
    run = tmp_path / "run"
    update(run, several(tested, other, third))
    assert pool(run, "pools/catalog-other").ids.tolist() == ["a", "z"]
    assert len(pool(run, "pools/catalog-data")) == TEST_ROWS
    assert pool(run, "pools/catalog-third").ids.tolist() == list("abcdefghij")


def test_demo_beside_another_catalog(tmp_path: Path) -> None:
    run = tmp_path / "run"
    update(run, several("demo", offers(tmp_path / "offers.csv", list("abcdefgh")), demo={"listings": 40}))
    assert len(pool(run, "pools/catalog-demo")) == 40
    assert pool(run, "pools/catalog-demo").has_image.any()
    assert pool(run, "pools/catalog-offers").ids.tolist() == list("abcdefgh")


def test_sources_that_are_refused(demo_folder: Path, tmp_path: Path) -> None:
    table = offers(tmp_path / "offers.csv", list("abcdefgh"))
    unlabeled = tmp_path / "unlabeled.csv"
    unlabeled.write_text("posting_id,title\na,red mug\n")
    for paths, message in (
        ([table, tmp_path / "nowhere"], "nowhere: no such file or folder"),
        ([table, unlabeled], r"unlabeled\.csv.*\n?.*label_group"),
        ([table, demo_folder, table], r"--data names .*offers\.csv twice"),
        ([demo_folder, demo_folder / "train.csv"], "--data names .* twice"),
        (["demo", "demo"], "--data names demo twice"),
    ):
        with pytest.raises(MatcherError, match=message):
            update(tmp_path / "run", several(*paths))
        assert remembered(tmp_path / "run") == {}


@pytest.mark.fault(35)
def test_pools_are_without_what_many_unlike_listings_share(tmp_path: Path) -> None:
    rows = [f"p{i},thing{i // 2} model{i // 2},9b3c5d2a6f0e1478,g{i // 2}" for i in range(200)]
    (tmp_path / "data").mkdir()
    table = "\n".join(["posting_id,title,image_phash,label_group", *rows])
    (tmp_path / "data" / "train.csv").write_text(table, encoding="utf-8")
    settings, lines = settings_of(tmp_path / "data"), list[str]()
    run = RunFolder(tmp_path / "run", say=lines.append)
    graph = Graph(catalog_stages(run, settings, sources_of(run, settings)))
    update_stages(run, settings, graph, list(graph))
    for name in (TRAIN, *(pool.stage for pool in all_pools(3))):
        assert load_catalog(run.open(name)).has_phash.all() == (name == TRAIN)
    report = load_set_aside(run.open(CATALOG_POOL.stage))
    assert report.kinds["hashes"].listings == 200
    line = next(line for line in lines if line.startswith(CATALOG_POOL.stage))
    assert "set aside 1 hash of 200 listings (9b3c5d2a6f0e1478, such as p0)" in line


@pytest.mark.fault(36)
def test_the_progress_line_says_why_images_are_not_used(demo_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(demo_folder, data)
    for number, path in enumerate(sorted((data / "train_images").iterdir())):
        path.rename(path.with_suffix(".kept"))
        if number:
            path.symlink_to(path.with_suffix(".kept").rename(tmp_path / path.name))
        else:
            path.write_bytes(b"<html>")
    lines: list[str] = []
    run, settings = RunFolder(tmp_path / "run", say=lines.append), settings_of(data)
    graph = Graph(catalog_stages(run, settings, sources_of(run, settings)))
    update_stages(run, settings, graph, [TRAIN])
    line = next(line for line in lines if line.startswith(TRAIN))
    assert "with image 0" in line
    assert "images that cannot be used 39 of 39: a link out of the image folder, not followed without data." in line
    assert "not an image but an HTML page 1 (such as" in line
    linked = settings_of(data, data={"follow_links": True})
    assert update(tmp_path / "run", linked, [TRAIN]) == [TRAIN]
    assert load_catalog(run.open(TRAIN)).has_image.sum() == 37  # one is a page, one was missing before
