"""Further data to learn from: layouts, faults, and joining it to the catalog."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shared.catalog.split
from branches import registry
from shared.catalog.extra_data import Extra, extras_of, join, layout_of, read_extra, reading_of
from shared.catalog.public_datasets import read_in_shop, read_sop, read_title_pairs
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.settings import Settings, from_arguments
from shared.schema import Catalog
from tests.support.tables import write_image

ONE = ComputeConfig(device="cpu", threads=1)
SOP_HEADER = "image_id class_id super_class_id path"
IN_SHOP_HEADER = "image_name item_id evaluation_status"


def table(path: Path, header: str, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def sop(folder: Path) -> Path:
    """Four images of two products, of two classes, as the archive unpacks: one product to train on, one to test on."""
    mugs = [f"mug_final/111085122871_{view}.JPG" for view in (0, 1)]
    fans = [f"fan_final/281465231240_{view}.JPG" for view in (0, 1)]
    trained = [f"{row} 1 1 {name}" for row, name in enumerate(mugs, start=1)]
    tested = [f"{row} 11319 5 {name}" for row, name in enumerate(fans, start=3)]
    table(folder / "Ebay_train.txt", SOP_HEADER, *trained)
    table(folder / "Ebay_test.txt", SOP_HEADER, *tested)
    for seed, name in enumerate((*mugs, *fans)):
        write_image(folder / name, seed)
    for other in ("Ebay_final.txt", "mug_final.txt", "fan_final.txt", "README"):  # lie there and are not read
        (folder / other).write_text("other\n", encoding="utf-8")
    return folder


def in_shop(folder: Path, place: str = "Eval/", images: str = "Img", large: bool = False) -> Path:
    """Four images of two products as the archives unpack: the list's columns have fixed widths, its header has not."""
    women = [f"img/WOMEN/Dresses/id_00000002/02_{view}.jpg" for view in ("1_front", "2_side")]
    men = [f"img/MEN/Denim/id_00000080/01_{view}.jpg" for view in ("1_front", "7_additional")]
    parts = zip((*women, *men), ("train", "train", "query", "gallery"), strict=True)
    rows = [f"{name:<71}{name.split('/')[3]} {part:<11}" for name, part in parts]
    table(folder / f"{place}list_eval_partition.txt", "4", IN_SHOP_HEADER, *rows)
    for seed, name in enumerate((*women, *men)):
        write_image(folder / images / (name.replace("img/", "img_highres/", 1) if large else name), 10 + seed)
    return folder


def pairs(path: Path, *rows: tuple[str, str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("title_1", "title_2", "label"), *rows])
    return path


def read(path: Path) -> Catalog:
    """What is read of an extra."""
    return read_extra(path, Extra(path).name, ONE)[0]


def groups(catalog: Catalog, column: str) -> set[frozenset[str]]:
    found: dict[str, set[str]] = {}
    for label, value in zip(catalog.labels, catalog.column(column), strict=True):
        found.setdefault(label, set()).add(value)
    return {frozenset(values) for values in found.values()}


# --- layouts ---------------------------------------------------------------------------------------------------------


def test_sop_all_parts(tmp_path: Path) -> None:
    made = read(sop(tmp_path / "sop"))
    mugs = frozenset({"mug_final/111085122871_0.JPG", "mug_final/111085122871_1.JPG"})
    fans = frozenset({"fan_final/281465231240_0.JPG", "fan_final/281465231240_1.JPG"})
    assert groups(made, "image") == {mugs, fans}
    assert made.has_image.all()
    assert made.has_phash.all()
    assert set(made.titles) == {""}


@pytest.mark.parametrize("part", ["Ebay_train.txt", "Ebay_test.txt", "Ebay_info.txt"])
def test_sop_one_part(part: str, tmp_path: Path) -> None:
    folder = sop(tmp_path / "sop")
    (folder / "Ebay_train.txt").unlink()
    (folder / "Ebay_test.txt").rename(folder / part)
    assert len(read(folder)) == 2


def test_sop_list_of_all_parts_adds_no_image_twice(tmp_path: Path) -> None:
    folder = sop(tmp_path / "sop")
    rows = [line for part in ("train", "test") for line in (folder / f"Ebay_{part}.txt").read_text().splitlines()[1:]]
    table(folder / "Ebay_info.txt", SOP_HEADER, *rows)
    assert len(read(folder)) == 4


@pytest.mark.parametrize("place", ["Eval/", "Anno/", ""])
@pytest.mark.parametrize("images", ["", "Img"])
@pytest.mark.parametrize("large", [False, True])
def test_in_shop_places_of_list_and_images(place: str, images: str, large: bool, tmp_path: Path) -> None:
    made = read(in_shop(tmp_path / "shop", place, images, large))
    assert sorted(map(len, groups(made, "image"))) == [2, 2]
    assert {label.rpartition(":")[2] for label in made.labels} == {"id_00000002", "id_00000080"}
    assert made.has_image.all()
    assert made.image_folder == tmp_path / "shop" / images


def test_in_shop_prefers_the_images_that_the_list_names(tmp_path: Path) -> None:
    folder = in_shop(in_shop(tmp_path / "shop", large=True))
    assert {path.parts[-5] for path in read(folder).image_paths()} == {"img"}


def test_in_shop_larger_image_missing_keeps_its_row(tmp_path: Path) -> None:
    folder = in_shop(tmp_path / "shop", large=True)
    (folder / "Img/img_highres/MEN/Denim/id_00000080/01_1_front.jpg").unlink()
    assert read(folder).column("image_fault").tolist() == [None, None, "no such file", None]


def test_sop_missing_or_broken_image_keeps_its_row(tmp_path: Path) -> None:
    folder = sop(tmp_path / "sop")
    (folder / "mug_final/111085122871_0.JPG").unlink()
    (folder / "fan_final/281465231240_0.JPG").write_bytes(b"<html>")
    made = read(folder)
    assert made.column("image_fault").tolist() == ["no such file", None, "not an image but an HTML page", None]


@pytest.mark.fault(5)
def test_sop_image_outside_the_folder(tmp_path: Path) -> None:
    folder = sop(tmp_path / "sop")
    write_image(tmp_path / "secret.png", 5)
    with (folder / "Ebay_train.txt").open("a") as file:
        file.write(f"5 1 1 ../secret.png\n6 1 1 {tmp_path}/secret.png\n")
    made = read(folder)
    assert made.column("image_fault").tolist()[2:4] == ["outside the image folder"] * 2
    assert made.image_paths()[2:4] == [None, None]


def test_catalog_folder(demo_folder: Path, demo_catalog: Catalog, tmp_path: Path) -> None:
    made = read(demo_folder)
    assert groups(made, "title") == groups(demo_catalog, "title")
    assert made.image_paths() == demo_catalog.image_paths()


def test_catalog_table(tmp_path: Path) -> None:
    path = table(tmp_path / "more.csv", "posting_id,title,label_group", "a,red mug,1", "b,mug red,1", "c,fan,2")
    assert groups(read(path), "title") == {frozenset({"red mug", "mug red"}), frozenset({"fan"})}


def test_title_pairs_groups_of_matching_pairs(tmp_path: Path) -> None:
    rows = [("a 1", "b 1", 1), ("c 1", "B-1", "1"), ("a 1", "x", 0), ("y", "z", " 0 ")]
    made = read(pairs(tmp_path / "pairs.csv", *rows))
    expected = [{"a 1", "b 1", "c 1"}, {"x"}, {"y"}, {"z"}]
    assert groups(made, "title") == set(map(frozenset, expected))


def test_title_pairs_contradicted_or_without_a_title(tmp_path: Path) -> None:
    rows = [("a", "b", 1), ("b", "c", 1), ("a", "c", 0), ("a", "A!", 0), ("a", "x", 0), ("", "b", 1), ("a", "!", 0)]
    made = read_title_pairs(pairs(tmp_path / "pairs.csv", *rows))
    assert made.counts == {"pairs": 7, "pairs without a title": 2, "contradicted pairs": 2}
    assert made.table.columns["title"] == ["a", "b", "c", "x"]


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")], ids=["none", "folder", "file"]
)
def test_an_unknown_path_names_the_known_layouts(make: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "what.md"
    make(path)
    with pytest.raises(MatcherError) as caught:
        layout_of(path)
    for word in (str(path), "Ebay_train.txt", "list_eval_partition.txt", "train.csv", "title_1, title_2, label"):
        assert word in str(caught.value)


def test_sop_faults(tmp_path: Path) -> None:
    folder = sop(tmp_path / "sop")
    table(folder / "Ebay_train.txt", SOP_HEADER, "1 1 1 a b.JPG", "2 1 mug.JPG", "3 9 1 fan_final/281465231240_0.JPG")
    table(folder / "Ebay_info.txt", "id path", "1 1 1 x.JPG")
    with pytest.raises(MatcherError) as caught:
        read_sop(folder)
    faults = str(caught.value).splitlines()
    assert faults[0].endswith("4 faults")
    assert "Ebay_train.txt row 1: 5 fields where the header has 4" in faults[1]
    assert "Ebay_train.txt row 2: 3 fields where the header has 4" in faults[2]
    assert "Ebay_test.txt row 1: 'fan_final/281465231240_0.JPG' is of '11319' here, of '9' before" in faults[3]
    assert "Ebay_info.txt: the header is 'id path', not" in faults[4]


def test_in_shop_faults(tmp_path: Path) -> None:
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
def test_in_shop_empty_list(text: str, tmp_path: Path) -> None:
    (tmp_path / "list_eval_partition.txt").write_text(text)
    with pytest.raises(MatcherError, match=r"no rows|the header is ''"):
        read_in_shop(tmp_path)


def test_sop_list_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "Ebay_train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MatcherError, match=r"Ebay_train.txt: byte 0 is not UTF-8"):
        read_sop(tmp_path)


@pytest.mark.parametrize("make", [sop, in_shop])
def test_images_not_unpacked(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path / "data")
    for path in [p for p in folder.rglob("*") if p.suffix.lower() == ".jpg"]:
        path.unlink()
    with pytest.raises(MatcherError, match=r"names 4 images \(.*none of them is in .*unpack the images there"):
        read(folder)


def test_title_pairs_bad_labels(tmp_path: Path) -> None:
    path = pairs(tmp_path / "pairs.csv", ("a", "b", 1), ("a", "c", "yes"), ("a", "d", ""), ("a", "e", 2))
    with pytest.raises(MatcherError) as caught:
        read_title_pairs(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path} (row 1 is the first below the header): 3 faults"
    assert [line.split(":")[0] for line in lines[1:]] == ["  - row 2", "  - row 3", "  - row 4"]
    assert "label 'yes' is neither 0 nor 1" in lines[1]


def test_title_pairs_missing_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "pairs.csv", "title_1,titel_2,same", "a,b,1")
    with pytest.raises(MatcherError) as caught:
        read(path)
    assert "no column 'title_2' (columns: title_1, titel_2, same)" in str(caught.value)
    assert "no column 'label'" in str(caught.value)


def test_catalog_faults(tmp_path: Path) -> None:
    path = table(tmp_path / "more.csv", "id,title,group", "a,red mug,1")
    with pytest.raises(MatcherError, match=r"(?s)no column 'posting_id'.*settings at their defaults.*title_1"):
        read(path)


def test_extra_without_a_pair(tmp_path: Path) -> None:
    alone = [
        pairs(tmp_path / "pairs.csv", ("a", "b", 0), ("a", "A", 1)),
        table(tmp_path / "more.csv", "posting_id,title,label_group", "a,red mug,1", "b,blue mug,2"),
        sop(tmp_path / "sop"),
    ]
    (tmp_path / "sop" / "Ebay_test.txt").unlink()
    table(
        tmp_path / "sop" / "Ebay_train.txt",
        SOP_HEADER,
        "1 1 1 mug_final/111085122871_0.JPG",
        "2 2 1 mug_final/111085122871_1.JPG",
    )
    for path in alone:
        with pytest.raises(MatcherError, match="no two of its 2 listings are of one product"):
            read(path)


# --- joining ---------------------------------------------------------------------------------------------------------


def test_concat_catalogs_of_different_image_folders(tmp_path: Path) -> None:
    one, other = read(sop(tmp_path / "a" / "sop")), read(in_shop(tmp_path / "b" / "shop"))
    made = Catalog.concat([one, other])
    assert made.image_paths() == [*one.image_paths(), *other.image_paths()]
    assert made.image_folder == tmp_path
    assert not [name for name in made.column("image") if ".." in name or os.path.isabs(name)]


def test_concat_unusable_image(tmp_path: Path, catalog_of: Callable[..., Catalog]) -> None:
    bad = Catalog(catalog_of(2, image=["/etc/hosts", "../x.jpg"]).table, tmp_path / "other")
    made = Catalog.concat([read(sop(tmp_path / "sop")), bad])
    assert made.image_paths()[4:] == [None, None]
    assert made.column("image").tolist()[4:] == ["/etc/hosts", "../x.jpg"]


def test_concat_without_images(catalog_of: Callable[..., Catalog]) -> None:
    made = Catalog.concat([catalog_of(1, title=["a"]), catalog_of(1, posting_id=["x"], title=["b"])])
    assert (made.image_folder, made.titles.tolist()) == (None, ["a", "b"])


def left(kept: Catalog) -> list[str]:
    return [i for i in kept.ids if i.startswith("x")]


HASH, FLAT = 0x5A5A5A5A5A5A5A5A, 1


@pytest.mark.fault(26)
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
def test_join_leaves_out_what_shares_with_unseen(
    column: str, unseen: Any, extra: Any, kept: list[str], catalog_of: Callable[..., Catalog]
) -> None:
    own = catalog_of(2, posting_id=["a", "b"], label_group=["g", "g"])
    ids = ["x0", "x1", "x2", "x3"]
    extras = catalog_of(4, posting_id=ids, label_group=["p", "p", "q", "q"], **{column: [extra, None, None, None]})
    made, component, metrics = join(own, [extras], [catalog_of(1, **{column: [unseen]})])
    assert left(made) == kept
    assert made.ids.tolist()[:2] == ["a", "b"]
    assert len(component) == len(made)
    assert metrics == {"extra_joined": len(kept), "extra_left_out": 4 - len(kept)}


@pytest.mark.fault(26)
def test_join_leaves_out_what_leads_to_unseen(
    catalog_of: Callable[..., Catalog],
) -> None:
    own = catalog_of(3, posting_id=["a", "b", "c"], label_group=["g", "g", "h"], title=["red mug", "mug red", "fan"])
    one = catalog_of(3, posting_id=["x0", "x1", "x2"], label_group=["p", "p", "r"], title=["red mug", "cup", "fan"])
    two = catalog_of(2, posting_id=["x3", "x4"], label_group=["q", "q"], title=["mug red", "leak"])
    made, component, _ = join(own, [one, two], [catalog_of(1, title=["leak"])])
    assert made.ids.tolist() == ["a", "b", "c", "x2"]
    assert component[0] == component[1] != component[2] == component[3]


def test_join_sees_a_title_that_many_products_share(catalog_of: Callable[..., Catalog]) -> None:
    n = shared.catalog.split.PLACEHOLDER_GROUPS + 5
    ids, labels = [f"x{i}" for i in range(n)], [f"p{i}" for i in range(n)]
    extras = catalog_of(n, posting_id=ids, label_group=labels, title=["mug"] * n)
    made, _, _ = join(catalog_of(1, label_group=["g"]), [extras], [catalog_of(1, title=["mug"])])
    assert left(made) == []


def test_join_components_over_own_and_extra(catalog_of: Callable[..., Catalog]) -> None:
    own = catalog_of(2, posting_id=["a", "b"], label_group=["g", "h"], title=["red mug", "fan"])
    extras = catalog_of(3, posting_id=["x0", "x1", "x2"], label_group=["p", "p", "q"], title=["Red Mug", "cup", "tea"])
    made, component, _ = join(own, [extras], [catalog_of(1, title=["else"])])
    assert made.labels.tolist() == ["g", "h", "p", "p", "q"]
    assert component[0] == component[2] == component[3]
    assert len(set(component[[0, 1, 4]])) == 3


# --- names and settings ----------------------------------------------------------------------------------------------


def test_stage_of_extras_of_one_name(tmp_path: Path) -> None:
    one, other = Extra(tmp_path / "a" / "data"), Extra(tmp_path / "b" / "data")
    assert one.stage != other.stage
    assert one.stage.startswith("catalog/extra/data-")
    assert not {"/", ".", " "} & set(Extra(Path("/x/my data.work")).name)


def test_read_extra_ids_and_groups_begin_with_its_name(tmp_path: Path) -> None:
    made = read(pairs(tmp_path / "pairs.csv", ("a", "b", 1)))
    assert all(value.startswith("pairs_csv-") for value in (*made.ids, *made.labels))


def test_reading_of_depends_on_content_alone(tmp_path: Path) -> None:
    folder, titles = sop(tmp_path / "sop"), pairs(tmp_path / "pairs.csv", ("a", "b", 1))
    before = [reading_of(path, ONE).sources for path in (folder, titles)]
    for path in (folder / "Ebay_test.txt", folder / "mug_final/111085122871_0.JPG", titles):
        os.utime(path, (1, 1))
    assert [reading_of(path, ONE).sources for path in (folder, titles)] == before
    write_image(folder / "mug_final/111085122871_0.JPG", 99)
    pairs(titles, ("a", "b", 1), ("a", "c", 0))
    after = [reading_of(path, ONE).sources for path in (folder, titles)]
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_extras_of_every_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    sections = registry.sections()
    for name in registry.names():
        Config = registry.get(name).Config
        assert extras_of(Settings({}, sections)[Config]) == []
        if registry.get(name).learns:
            config = Settings(from_arguments([f"--{name}.extra=/a/b,~/c,/a/b"], sections), sections)[Config]
            assert [extra.path for extra in extras_of(config)] == [Path("/a/b"), Path("/home/me/c")]
            assert config.cache_key("train")["extra"] == ["/a/b", "~/c", "/a/b"]
