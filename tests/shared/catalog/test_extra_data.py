import csv
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shared.pipeline.extra_data
from numpy.typing import NDArray
from PIL import Image
from shared.pipeline.extra_data import Extra, extra_stage, extras_of, join, layout_of, load_extra

import branches.stages
from branches.stages import train_all
from shared.catalog.public_datasets import read_in_shop, read_sop, read_title_pairs
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.errors import MatcherError
from shared.pipeline.pools import ALL, load_split, prepare, train_catalog, training_rows
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings, branch_names, from_arguments
from shared.schema import Catalog

ONE = ComputeConfig(device="cpu", threads=1)
SOP_HEADER = "image_id class_id super_class_id path"
IN_SHOP_HEADER = "image_name item_id evaluation_status"


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((40, 40), Image.Resampling.BILINEAR).save(path)


def table(path: Path, header: str, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def sop(folder: Path) -> Path:
    """Four pictures of two products, of two classes; one product in the part for training, one in that for testing."""
    table(folder / "Ebay_train.txt", SOP_HEADER, "1 1 1 mug_final/1_0.JPG", "2 1 1 mug_final/1_1.JPG")
    table(folder / "Ebay_test.txt", SOP_HEADER, "3 2 2 fan_final/2_0.JPG", "4 2 2 fan_final/2_1.JPG")
    for seed, name in enumerate(("mug_final/1_0", "mug_final/1_1", "fan_final/2_0", "fan_final/2_1")):
        picture(folder / f"{name}.JPG", seed)
    return folder


def in_shop(folder: Path, place: str = "Eval/", images: str = "") -> Path:
    names = [f"img/WOMEN/Tees/id_0000000{item}/0{view}.jpg" for item in (1, 2) for view in (1, 2)]
    parts = ("train", "train", "query", "gallery")
    rows = [f"{name}   id_0000000{1 + at // 2}      {parts[at]}" for at, name in enumerate(names)]
    table(folder / f"{place}list_eval_partition.txt", "4", "  ".join(IN_SHOP_HEADER.split()), *rows)
    for seed, name in enumerate(names):
        picture(folder / images / name, 10 + seed)
    return folder


def pairs(path: Path, *rows: tuple[str, str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("title_1", "title_2", "label"), *rows])
    return path


def quiet(folder: Path) -> Run:
    return Run(folder, say=lambda line: None)


def read(path: Path, folder: Path) -> Catalog:
    """What a run makes of an extra."""
    run = quiet(folder / "extras")
    extra_stage(run, Extra(path), ONE)
    return load_extra(run, Extra(path))


def groups(catalog: Catalog, column: str) -> set[frozenset[str]]:
    found: dict[str, set[str]] = {}
    for label, value in zip(catalog.labels, catalog.column(column), strict=True):
        found.setdefault(label, set()).add(value)
    return {frozenset(values) for values in found.values()}


# --- layouts ---------------------------------------------------------------------------------------------------------


def test_stanford_online_products_all_parts(tmp_path: Path) -> None:
    made = read(sop(tmp_path / "sop"), tmp_path)
    mugs = frozenset({"mug_final/1_0.JPG", "mug_final/1_1.JPG"})
    fans = frozenset({"fan_final/2_0.JPG", "fan_final/2_1.JPG"})
    assert groups(made, "image") == {mugs, fans}
    assert made.has_image.all()
    assert made.has_phash.all()
    assert set(made.titles) == {""}


@pytest.mark.parametrize("part", ["Ebay_train.txt", "Ebay_test.txt", "Ebay_info.txt"])
def test_one_part_of_stanford_online_products_is_enough(part: str, tmp_path: Path) -> None:
    folder = sop(tmp_path / "sop")
    (folder / "Ebay_train.txt").unlink()
    (folder / "Ebay_test.txt").rename(folder / part)
    assert len(read(folder, tmp_path)) == 2


def test_the_list_of_all_parts_adds_no_picture_twice(tmp_path: Path) -> None:
    folder = sop(tmp_path / "sop")
    rows = [line for part in ("train", "test") for line in (folder / f"Ebay_{part}.txt").read_text().splitlines()[1:]]
    table(folder / "Ebay_info.txt", SOP_HEADER, *rows)
    assert len(read(folder, tmp_path)) == 4


@pytest.mark.parametrize("place", ["Eval/", "Anno/", ""])
@pytest.mark.parametrize("images", ["", "Img"])
def test_in_shop_wherever_its_list_and_its_pictures_lie(place: str, images: str, tmp_path: Path) -> None:
    made = read(in_shop(tmp_path / "shop", place, images), tmp_path)
    assert sorted(map(len, groups(made, "image"))) == [2, 2]
    assert made.has_image.all()
    assert made.image_folder == tmp_path / "shop" / images


def test_a_missing_or_broken_picture_keeps_its_row(tmp_path: Path) -> None:
    folder = sop(tmp_path / "sop")
    (folder / "mug_final/1_0.JPG").unlink()
    (folder / "fan_final/2_0.JPG").write_bytes(b"<html>")
    made = read(folder, tmp_path)
    assert made.column("image_fault").tolist() == ["no such file", None, "not an image", None]


def test_a_picture_outside_the_folder_is_refused(tmp_path: Path) -> None:
    folder = sop(tmp_path / "sop")
    picture(tmp_path / "secret.png", 5)
    with (folder / "Ebay_train.txt").open("a") as file:
        file.write(f"5 1 1 ../secret.png\n6 1 1 {tmp_path}/secret.png\n")
    made = read(folder, tmp_path)
    assert made.column("image_fault").tolist()[2:4] == ["outside the image folder"] * 2
    assert made.image_paths()[2:4] == [None, None]


def test_a_catalog(demo_folder: Path, demo_catalog: Catalog, tmp_path: Path) -> None:
    made = read(demo_folder, tmp_path)
    assert groups(made, "title") == groups(demo_catalog, "title")
    assert made.image_paths() == demo_catalog.image_paths()


def test_a_table_alone(tmp_path: Path) -> None:
    path = table(tmp_path / "more.csv", "posting_id,title,label_group", "a,red mug,1", "b,mug red,1", "c,fan,2")
    assert groups(read(path, tmp_path), "title") == {frozenset({"red mug", "mug red"}), frozenset({"fan"})}


def test_title_pairs_are_groups_of_the_pairs_that_match(tmp_path: Path) -> None:
    rows = [("a 1", "b 1", 1), ("c 1", "B-1", "1"), ("a 1", "x", 0), ("y", "z", " 0 ")]
    made = read(pairs(tmp_path / "pairs.csv", *rows), tmp_path)
    expected = [{"a 1", "b 1", "c 1"}, {"x"}, {"y"}, {"z"}]
    assert groups(made, "title") == set(map(frozenset, expected))


def test_title_pairs_that_contradict_or_lack_a_title_are_counted(tmp_path: Path) -> None:
    rows = [("a", "b", 1), ("b", "c", 1), ("a", "c", 0), ("a", "A!", 0), ("a", "x", 0), ("", "b", 1), ("a", "!", 0)]
    made = read_title_pairs(pairs(tmp_path / "pairs.csv", *rows))
    assert made.counts == {"pairs": 7, "pairs without a title": 2, "contradicted pairs": 2}
    assert made.table.columns["title"] == ["a", "b", "c", "x"]


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")], ids=str)
def test_an_unknown_path_names_the_known_layouts(make: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "what.txt"
    make(path)
    with pytest.raises(MatcherError) as caught:
        layout_of(path)
    for word in (str(path), "Ebay_train.txt", "list_eval_partition.txt", "train.csv", "title_1, title_2, label"):
        assert word in str(caught.value)


def test_faults_of_stanford_online_products_are_named_at_once(tmp_path: Path) -> None:
    folder = sop(tmp_path / "sop")
    table(folder / "Ebay_train.txt", SOP_HEADER, "1 1 1 a b.JPG", "2 1 mug.JPG", "3 9 1 fan_final/2_0.JPG")
    table(folder / "Ebay_info.txt", "id path", "1 1 1 x.JPG")
    with pytest.raises(MatcherError) as caught:
        read_sop(folder)
    faults = str(caught.value).splitlines()
    assert faults[0].endswith("4 faults")
    assert "Ebay_train.txt row 1: 5 fields where the header has 4" in faults[1]
    assert "Ebay_train.txt row 2: 3 fields where the header has 4" in faults[2]
    assert "Ebay_test.txt row 1: 'fan_final/2_0.JPG' is of '2' here, of '9' before" in faults[3]
    assert "Ebay_info.txt: the header is 'id path', not" in faults[4]


def test_faults_of_in_shop_are_named_at_once(tmp_path: Path) -> None:
    folder = in_shop(tmp_path / "shop")
    path = folder / "Eval" / "list_eval_partition.txt"
    table(path, "52712", IN_SHOP_HEADER, "img/a.jpg id_1 train", "img/b.jpg id_1", "img/a.jpg id_2 validation")
    with pytest.raises(MatcherError) as caught:
        read_in_shop(folder)
    faults = "\n".join(str(caught.value).splitlines()[1:])
    assert "the first line is '52712', not the number of rows, 3" in faults
    assert "row 2: 2 fields where the header has 3" in faults
    assert "row 3: evaluation_status 'validation' is none of train, query, gallery" in faults
    assert "row 3: 'img/a.jpg' is of 'id_2' here, of 'id_1' before" in faults


@pytest.mark.parametrize("text", ["", f"0\n{IN_SHOP_HEADER}\n"])
def test_an_empty_list_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "list_eval_partition.txt").write_text(text)
    with pytest.raises(MatcherError, match=r"no rows|the header is ''"):
        read_in_shop(tmp_path)


def test_a_list_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "Ebay_train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MatcherError, match=r"Ebay_train.txt: byte 0 is not UTF-8"):
        read_sop(tmp_path)


@pytest.mark.parametrize("make", [sop, in_shop])
def test_pictures_that_were_not_unpacked_are_an_error(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path / "data")
    for path in [p for p in folder.rglob("*") if p.suffix.lower() == ".jpg"]:
        path.unlink()
    with pytest.raises(MatcherError, match=r"names 4 images \(.*none of them is in .*unpack the images there"):
        read(folder, tmp_path)


def test_bad_labels_of_title_pairs_are_named_with_their_rows(tmp_path: Path) -> None:
    path = pairs(tmp_path / "pairs.csv", ("a", "b", 1), ("a", "c", "yes"), ("a", "d", ""), ("a", "e", 2))
    with pytest.raises(MatcherError) as caught:
        read_title_pairs(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path} (row 1 is the first below the header): 3 faults"
    assert [line.split(":")[0] for line in lines[1:]] == ["  - row 2", "  - row 3", "  - row 4"]
    assert "label 'yes' is neither 0 nor 1" in lines[1]


def test_missing_columns_of_title_pairs_are_named(tmp_path: Path) -> None:
    path = table(tmp_path / "pairs.csv", "title_1,titel_2,same", "a,b,1")
    with pytest.raises(MatcherError) as caught:
        read(path, tmp_path)
    assert "no column 'title_2' (columns: title_1, titel_2, same)" in str(caught.value)
    assert "no column 'label'" in str(caught.value)


def test_a_faulty_catalog_says_how_it_was_read(tmp_path: Path) -> None:
    path = table(tmp_path / "more.csv", "id,title,group", "a,red mug,1")
    with pytest.raises(MatcherError, match=r"(?s)no column 'posting_id'.*settings at their defaults.*title_1"):
        read(path, tmp_path)


def test_an_extra_without_two_listings_of_a_product_is_an_error(tmp_path: Path) -> None:
    alone = [
        pairs(tmp_path / "pairs.csv", ("a", "b", 0), ("a", "A", 1)),
        table(tmp_path / "more.csv", "posting_id,title,label_group", "a,red mug,1", "b,blue mug,2"),
        sop(tmp_path / "sop"),
    ]
    (tmp_path / "sop" / "Ebay_test.txt").unlink()
    table(tmp_path / "sop" / "Ebay_train.txt", SOP_HEADER, "1 1 1 mug_final/1_0.JPG", "2 2 1 mug_final/1_1.JPG")
    for path in alone:
        with pytest.raises(MatcherError, match="no two of its 2 listings are of one product"):
            read(path, tmp_path)


# --- joining ---------------------------------------------------------------------------------------------------------


def test_catalogs_of_different_folders_find_their_pictures_when_joined(tmp_path: Path) -> None:
    one, other = read(sop(tmp_path / "a" / "sop"), tmp_path), read(in_shop(tmp_path / "b" / "shop"), tmp_path)
    made = Catalog.concat([one, other])
    assert made.image_paths() == [*one.image_paths(), *other.image_paths()]
    assert made.image_folder == tmp_path
    assert not [name for name in made.column("image") if ".." in name or os.path.isabs(name)]


def test_an_unusable_picture_is_no_file_after_joining(tmp_path: Path, catalog_of: Callable[..., Catalog]) -> None:
    bad = Catalog(catalog_of(2, image=["/etc/hosts", "../x.jpg"]).table, tmp_path / "other")
    made = Catalog.concat([read(sop(tmp_path / "sop"), tmp_path), bad])
    assert made.image_paths()[4:] == [None, None]
    assert made.column("image").tolist()[4:] == ["/etc/hosts", "../x.jpg"]


def test_catalogs_without_pictures_are_joined_without_a_folder(catalog_of: Callable[..., Catalog]) -> None:
    made = Catalog.concat([catalog_of(1, title=["a"]), catalog_of(1, posting_id=["x"], title=["b"])])
    assert (made.image_folder, made.titles.tolist()) == (None, ["a", "b"])


def left(kept: Catalog) -> list[str]:
    return [i for i in kept.ids if i.startswith("x")]


HASH, FLAT = 0x5A5A5A5A5A5A5A5A, 1


@pytest.mark.parametrize(
    ("column", "unseen", "extra", "kept"),
    [
        ("title", "Red  MUG!", "red mug", ["x2", "x3"]),
        ("title", "red mug", "blue mug", ["x0", "x1", "x2", "x3"]),
        ("title", "", "", ["x0", "x1", "x2", "x3"]),
        ("image_sha", "abc", "abc", ["x2", "x3"]),
        ("image_sha", "abc", "abd", ["x0", "x1", "x2", "x3"]),
        ("phash", HASH, HASH, ["x2", "x3"]),
        ("phash", FLAT, FLAT, ["x0", "x1", "x2", "x3"]),
    ],
)
def test_an_extra_that_shares_with_an_unseen_listing_is_left_out_with_its_group(
    column: str, unseen: Any, extra: Any, kept: list[str], catalog_of: Callable[..., Catalog]
) -> None:
    own = catalog_of(2, posting_id=["a", "b"], label_group=["g", "g"])
    ids = ["x0", "x1", "x2", "x3"]
    extras = catalog_of(4, posting_id=ids, label_group=["p", "p", "q", "q"], **{column: [extra, None, None, None]})
    made, component, figures = join(own, [extras], [catalog_of(1, **{column: [unseen]})])
    assert left(made) == kept
    assert made.ids.tolist()[:2] == ["a", "b"]
    assert len(component) == len(made)
    assert figures == {"extra joined": len(kept), "extra left out": 4 - len(kept)}


def test_what_leads_to_an_unseen_listing_over_own_listings_or_other_extras_is_left_out(
    catalog_of: Callable[..., Catalog],
) -> None:
    own = catalog_of(3, posting_id=["a", "b", "c"], label_group=["g", "g", "h"], title=["red mug", "mug red", "fan"])
    one = catalog_of(3, posting_id=["x0", "x1", "x2"], label_group=["p", "p", "r"], title=["red mug", "cup", "fan"])
    two = catalog_of(2, posting_id=["x3", "x4"], label_group=["q", "q"], title=["mug red", "leak"])
    made, component, _ = join(own, [one, two], [catalog_of(1, title=["leak"])])
    assert made.ids.tolist() == ["a", "b", "c", "x2"]
    assert component[0] == component[1] != component[2] == component[3]


def test_a_leak_is_seen_however_many_products_share_the_title(catalog_of: Callable[..., Catalog]) -> None:
    n = shared.catalog.split.PLACEHOLDER_GROUPS + 5
    ids, labels = [f"x{i}" for i in range(n)], [f"p{i}" for i in range(n)]
    extras = catalog_of(n, posting_id=ids, label_group=labels, title=["mug"] * n)
    made, _, _ = join(catalog_of(1, label_group=["g"]), [extras], [catalog_of(1, title=["mug"])])
    assert left(made) == []


def test_an_extra_is_no_negative_of_a_listing_whose_title_it_has(catalog_of: Callable[..., Catalog]) -> None:
    own = catalog_of(2, posting_id=["a", "b"], label_group=["g", "h"], title=["red mug", "fan"])
    extras = catalog_of(3, posting_id=["x0", "x1", "x2"], label_group=["p", "p", "q"], title=["Red Mug", "cup", "tea"])
    made, component, _ = join(own, [extras], [catalog_of(1, title=["else"])])
    assert made.labels.tolist() == ["g", "h", "p", "p", "q"]
    assert component[0] == component[2] == component[3]
    assert len(set(component[[0, 1, 4]])) == 3


# --- the job ---------------------------------------------------------------------------------------------------------


class Recorder:
    """Stands in for the training of every branch and keeps what it was given."""

    def __init__(self) -> None:
        self.trained: dict[str, tuple[Catalog, NDArray[np.int32]]] = {}

    def train(
        self, catalog: Catalog, components: NDArray[np.int32], config: ConfigSection, compute: ComputeConfig, out: Path
    ) -> Mapping[str, Any]:
        self.trained[out.name.removesuffix(".work")] = catalog, components
        (out / "encoder").write_text("trained")
        return {"listings": len(catalog)}

    def ids(self, encoder: str) -> set[str]:
        """Ids as an extra has them, without its name."""
        return {i.rpartition(":")[2] for i in self.trained[encoder][0].ids if ":" in i}


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(branches.stages, "import_module", lambda module: SimpleNamespace(train=made.train))
    return made


def settings_of(folder: Path, **branches: list[Path]) -> Settings:
    extras = {name: {"extra": [str(path) for path in paths]} for name, paths in branches.items()}
    return Settings({"data": {"path": str(folder)}, "compute": {"threads": 1, "device": "cpu"}} | extras)


def go(folder: Path, settings: Settings, *names: str) -> tuple[list[str], list[str]]:
    """Train some branches; returns the extras that were read and the encoders that were trained."""
    run = quiet(folder)
    prepare(run, settings)
    for name in names or ("image",):
        train_all(run, settings, name)
    return [s for s in run.done if "/extra/" in s], [s for s in run.done if "/encoder/" in s]


@pytest.fixture
def more(demo_folder: Path, tmp_path: Path) -> Path:
    """Title pairs that name a title of every listing of the demo, and one group that shares nothing with it."""
    with (demo_folder / "train.csv").open(encoding="utf-8", newline="") as file:
        titles = [row["title"] for row in csv.DictReader(file)]
    rows = [(title, f"partner {at}", 1) for at, title in enumerate(titles) if title]
    return pairs(tmp_path / "more.csv", *rows, ("nothing like it", "nothing at all like it", 1))


def test_an_encoder_is_trained_on_extras_that_give_away_none_of_what_it_is_measured_on(
    demo_folder: Path, more: Path, recorder: Recorder, tmp_path: Path
) -> None:
    go(tmp_path / "run", settings_of(demo_folder, image=[more]))
    run = quiet(tmp_path / "run")
    catalog, split = train_catalog(run), load_split(run)
    extra = load_extra(run, Extra(more))
    for encoder in ("fold0", "fold1", ALL):
        trained, component = recorder.trained[encoder]
        rows = training_rows(split, encoder)
        unseen = set(catalog.titles[np.setdiff1d(np.arange(40), rows)]) - {""}
        own = [i for i in trained.ids if not i.startswith(Extra(more).name)]
        assert own == catalog.ids[rows].tolist()
        assert not unseen & set(trained.titles)
        assert {"nothing like it", "nothing at all like it"} <= set(trained.titles)
        assert set(catalog.titles[rows]) & set(extra.titles) <= set(trained.titles[len(rows) :])
        assert len(component) == len(trained)
        figures = (run.manifest(f"image/encoder/{encoder}") or {})["figures"]
        assert figures["extra joined"] == len(trained) - len(rows) > 2
        assert figures["extra left out"] == len(extra) - figures["extra joined"] > 0
        assert figures["listings"] == len(trained)


def test_a_leaked_group_is_left_out_whole(demo_folder: Path, more: Path, recorder: Recorder, tmp_path: Path) -> None:
    go(tmp_path / "run", settings_of(demo_folder, image=[more]))
    for trained, _ in recorder.trained.values():
        partners = {t for t in trained.titles if t.startswith("partner")}
        assert partners
        for at, title in enumerate(train_catalog(quiet(tmp_path / "run")).titles):
            assert (f"partner {at}" in partners) <= (title in trained.titles)


def test_the_encoder_of_all_folds_learns_nothing_of_test_csv(
    demo_folder: Path, recorder: Recorder, tmp_path: Path
) -> None:
    data = shutil.copytree(demo_folder, tmp_path / "data")
    test = table(data / "test.csv", "posting_id,title", "t1,seen in the test")
    extra = pairs(tmp_path / "more.csv", ("seen in the test", "its match", 1), ("other", "its other match", 1))
    settings = settings_of(data, image=[extra])
    go(tmp_path / "run", settings)
    assert recorder.ids(ALL) == {"1", "3"}
    assert recorder.ids("fold0") == recorder.ids("fold1") == {"0", "1", "2", "3"}
    table(test, "posting_id,title", "t1,other")
    assert go(tmp_path / "run", settings) == ([], [f"image/encoder/{ALL}"])
    assert "seen in the test" in recorder.trained[ALL][0].titles
    assert "other" not in recorder.trained[ALL][0].titles


def test_pictures_of_extras_reach_the_training(demo_folder: Path, recorder: Recorder, tmp_path: Path) -> None:
    folder = sop(tmp_path / "sop")
    go(tmp_path / "run", settings_of(demo_folder, image=[folder]))
    trained, _ = recorder.trained[ALL]
    paths = trained.image_paths()
    assert {folder / "mug_final/1_0.JPG", folder / "fan_final/2_1.JPG"} <= set(paths)
    assert all(path is None or path.is_file() for path in paths)
    assert any(path and path.is_relative_to(demo_folder) for path in paths)


def test_a_branch_learns_from_its_own_extras_alone(
    demo_folder: Path, more: Path, recorder: Recorder, tmp_path: Path
) -> None:
    settings = settings_of(demo_folder, image=[more])
    assert go(tmp_path / "run", settings, "distilbert")[0] == []
    assert recorder.ids(ALL) == set()


def test_two_branches_that_name_an_extra_read_it_once(
    demo_folder: Path, more: Path, recorder: Recorder, tmp_path: Path
) -> None:
    settings = settings_of(demo_folder, image=[more], distilbert=[more, more.parent / "." / more.name])
    read, trained = go(tmp_path / "run", settings, "image", "distilbert")
    assert read == [Extra(more).stage]
    assert len(trained) == 6


def test_extras_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, other = Extra(tmp_path / "a" / "data"), Extra(tmp_path / "b" / "data")
    assert one.stage != other.stage
    assert one.stage.startswith("catalog/extra/data-")
    assert not {"/", ".", " "} & set(Extra(Path("/x/my data.work")).name)


def test_a_changed_extra_trains_again_and_a_changed_time_does_not(
    demo_folder: Path, recorder: Recorder, tmp_path: Path
) -> None:
    folder, titles = sop(tmp_path / "sop"), pairs(tmp_path / "pairs.csv", ("a", "b", 1))
    settings = settings_of(demo_folder, image=[folder, titles])
    encoders = [f"image/encoder/{name}" for name in ("fold0", "fold1", ALL)]
    assert go(tmp_path / "run", settings) == ([Extra(folder).stage, Extra(titles).stage], encoders)
    for path in (folder / "Ebay_test.txt", folder / "mug_final/1_0.JPG", titles):
        os.utime(path, (1, 1))
    assert go(tmp_path / "run", settings) == ([], [])
    picture(folder / "mug_final/1_0.JPG", 99)
    assert go(tmp_path / "run", settings) == ([Extra(folder).stage], encoders)
    with (folder / "Ebay_test.txt").open("a") as file:
        file.write("5 2 2 mug_final/none.JPG\n")
    assert go(tmp_path / "run", settings) == ([Extra(folder).stage], encoders)
    pairs(titles, ("a", "b", 1), ("a", "c", 0))
    assert go(tmp_path / "run", settings) == ([Extra(titles).stage], encoders)


def test_naming_an_extra_trains_again(demo_folder: Path, more: Path, recorder: Recorder, tmp_path: Path) -> None:
    go(tmp_path / "run", settings_of(demo_folder))
    assert len(go(tmp_path / "run", settings_of(demo_folder, image=[more]))[1]) == 3
    assert len(go(tmp_path / "run", settings_of(demo_folder))[1]) == 3
    assert recorder.ids(ALL) == set()


@pytest.mark.parametrize("branch", ["image", "distilbert"])
def test_an_unknown_extra_of_any_branch_stops_a_run_before_anything_is_done(
    branch: str, demo_folder: Path, tmp_path: Path
) -> None:
    run = quiet(tmp_path / "run")
    with pytest.raises(MatcherError, match=r"gone: no such file or folder; known are"):
        prepare(run, settings_of(demo_folder, **{branch: [tmp_path / "gone"]}))
    assert not (tmp_path / "run").exists()


def test_the_setting_is_a_list_of_paths_of_every_branch_that_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for name in filter(branches.stages.learns, branch_names()):
        config = Settings(from_arguments([f"--{name}.extra=/a/b,~/c,/a/b"])).branch(name)
        assert [extra.path for extra in extras_of(config)] == [Path("/a/b"), Path("/home/me/c")]
        assert config.cache_key("train")["extra"] == ["/a/b", "~/c", "/a/b"]
        assert extras_of(Settings({}).branch(name)) == []
    assert extras_of(Settings({}).branch("tfidf")) == []
