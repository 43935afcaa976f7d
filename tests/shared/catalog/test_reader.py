import csv
import gzip
import io
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import imagehash
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import shared.catalog.image_folder
from shared.catalog.reader import (
    DataConfig,
    Source,
    catalog_fingerprint,
    find_source,
    has_test,
    read_catalog,
    without_pictures,
)
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.schema import Catalog

HEADER = ["posting_id", "image", "image_phash", "title", "label_group"]
HASH = "e8c6a69e699939c1"
AWKWARD_IDS = [
    "001",
    "1",
    "1e5",
    "NA",
    "nan",
    "None",
    "true",
    " a b ",
    "a",
    "1.0",
    "-0",
    "🛒",
    "é",
    "x" * 300,
    '"q"',
    "=1+1",
]
ENDINGS = [".csv", ".csv.gz", ".tsv", ".jsonl", ".jsonl.gz", ".parquet"]


def rows_of(*ids: str, **columns: str) -> list[dict[str, str]]:
    """Well-formed rows without images, each changed by `columns`."""
    plain = {"image": "", "image_phash": "", "title": "Sabun", "label_group": "g"}
    return [{"posting_id": i, **plain, **columns} for i in ids]


def write(path: Path, rows: list[dict[str, Any]], header: list[str] = HEADER) -> Path:
    """Write rows in the format that the file's name says."""
    if path.name.endswith(".parquet"):
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in header}), path)
        return path
    if ".jsonl" in path.name:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        out = io.StringIO()
        writer = csv.DictWriter(out, header, delimiter="\t" if ".tsv" in path.name else ",")
        writer.writeheader()
        writer.writerows(rows)
        text = out.getvalue()
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return path


def read(data: Path, *, labeled: bool = True, test: bool = False, threads: int = 2, **options: Any) -> Catalog:
    config = DataConfig(**options)
    source = find_source(data, config, test=test)
    return read_catalog(source, config, ComputeConfig(threads=threads), labeled=labeled, progress=False)


def fault_of(data: Path, **options: Any) -> str:
    with pytest.raises(MatcherError) as error:
        read(data, **options)
    assert error.value.exit_code == 2
    return str(error.value)


def draw(path: Path, seed: int = 0, **options: Any) -> Image.Image:
    image = Image.new("RGB", (60, 40), "white")
    ImageDraw.Draw(image).ellipse([5 + seed, 5, 40, 30], fill=(200, 10 * seed, 30))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return image


# Tables


@pytest.mark.parametrize("ending", ENDINGS)
def test_values_stay_as_written(ending: str, tmp_path: Path) -> None:
    rows = [
        {**row, "title": f"{row['posting_id']} title", "label_group": row["posting_id"]}
        for row in rows_of(*AWKWARD_IDS)
    ]
    catalog = read(write(tmp_path / f"train{ending}", rows))
    assert catalog.ids.tolist() == AWKWARD_IDS
    assert catalog.labels.tolist() == AWKWARD_IDS
    assert catalog.titles.tolist() == [f"{i} title" for i in AWKWARD_IDS]


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@given(rows=st.lists(st.tuples(TEXT.filter(str.strip), TEXT), min_size=1, max_size=5, unique_by=lambda row: row[0]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_any_text_survives(ending: str, rows: list[tuple[str, str]], tmp_path: Path) -> None:
    table = write(tmp_path / f"t{ending}", [{"posting_id": i, "title": t} for i, t in rows], ["posting_id", "title"])
    catalog = read(table, labeled=False)
    assert catalog.ids.tolist() == [i for i, _ in rows]
    assert catalog.titles.tolist() == [t for _, t in rows]


def test_byte_order_mark_line_ends_quotes_and_long_fields(tmp_path: Path) -> None:
    long = "x" * 300_000
    text = f'posting_id,title,label_group\r\n1,"two\r\nlines, ""quoted""",a\r\n\r\n2,{long},a\r\n3,5" pipe,b'
    (tmp_path / "train.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    catalog = read(tmp_path)
    assert catalog.ids.tolist() == ["1", "2", "3"]
    assert catalog.titles.tolist() == ['two\r\nlines, "quoted"', long, '5" pipe']


def test_numbers_of_typed_formats(tmp_path: Path) -> None:
    table = pa.table({"posting_id": [1, 2, 3], "title": [1.5, None, float("nan")], "label_group": [7.0, 8.0, 1e5]})
    pq.write_table(table, tmp_path / "train.parquet")
    catalog = read(tmp_path)
    assert catalog.ids.tolist() == ["1", "2", "3"]
    assert catalog.titles.tolist() == ["1.5", "", ""]
    assert catalog.labels.tolist() == ["7", "8", "100000"]
    line = '{"posting_id": 12345678901234567890, "title": 1e5, "label_group": 1.0}'
    (tmp_path / "t.jsonl").write_text(line + '\n\n{"posting_id": true, "label_group": -0}\n')
    catalog = read(tmp_path / "t.jsonl")
    assert catalog.ids.tolist() == ["12345678901234567890", "true"]
    assert catalog.titles.tolist() == ["1e5", ""]
    assert catalog.labels.tolist() == ["1.0", "-0"]


def test_one_error_names_every_fault(tmp_path: Path) -> None:
    lines = [
        "posting_id,image_phash,title,label_group",
        f"a,{HASH},T,g",
        "a,,T,g",  # 2: twice
        " ,,T,g",  # 3: no id
        "b,12345,T,g",  # 4: no hash
        "c,,T",  # 5: too short
        "d,,T,g,h,i",  # 6: too long
        'e,,"T"x,g',  # 7: broken quotes
        f"f,{HASH[:-1]}Z,T,",  # 8: no hash and no label
        'g,,"two\nlines",g',
        "a,,T, ",  # 10: twice and no label
    ]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    message = fault_of(tmp_path)
    assert "train.csv (row 1 is the first below the header): 9 faults" in message
    assert [line.strip(" -").partition(":")[0] for line in message.splitlines()[1:]] == [
        "training needs every label_group",
        *(f"row {n}" for n in (2, 3, 4, 5, 6, 7, 8, 10)),
    ]
    for part in (
        "none in rows 8, 10",
        "row 2: id 'a' stands in row 1 already",
        "row 3: empty posting_id",
        "row 4: image_phash '12345' is not 16 hex digits",
        "row 5: 3 fields where the header has 4 (line 6)",
        "row 6: 6 fields where the header has 4 (line 7)",
        "row 7: broken quotes from line 8 on",
    ):
        assert part in message
    assert "label" not in fault_of(tmp_path, labeled=False)


def test_an_unclosed_quote_says_where_it_begins(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('posting_id,title,label_group\n1,a,g\n2,"b,g\n3,c,g\n4,d,g\n')
    assert "row 2: broken quotes from line 3 on" in fault_of(tmp_path)


def test_many_faults_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of(*["same"] * 80, label_group=""))
    message = fault_of(tmp_path)
    assert "80 faults" in message
    assert "none in rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 70 more" in message
    assert "and 30 more" in message


def test_latin_1_names_byte_and_rows(tmp_path: Path) -> None:
    text = "posting_id,title,label_group\n1,ok,g\n2,Café,g\n3,ok,g\n4,Señor,g\n"
    (tmp_path / "train.csv").write_bytes(text.encode("latin-1"))
    message = fault_of(tmp_path)
    assert "2 faults" in message
    assert "row 2: byte 0xe9 is not UTF-8 in title 'Caf�'" in message
    assert "row 4: byte 0xf1 is not UTF-8" in message
    message.encode()


def test_half_a_surrogate_pair_in_json(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"posting_id": "a\\ud83d", "title": "\\ud83d\\ude00", "label_group": "g"}')
    message = fault_of(tmp_path)
    assert "1 fault\n" in message
    assert "row 1: half a surrogate pair in posting_id" in message


def test_broken_json_lines(tmp_path: Path) -> None:
    good = json.dumps(rows_of("a")[0])
    (tmp_path / "train.jsonl").write_text(f'{good}\n{{"posting_id": \n[1, 2]\n{"[" * 100_000}\n{good}\n')
    message = fault_of(tmp_path)
    for part in (
        "4 faults",
        "row 2: not JSON",
        "row 3: not a JSON object",
        "row 4: not JSON",
        "row 5: id 'a' stands in",
    ):
        assert part in message


def test_utf_16_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes("posting_id,title,label_group\n1,a,g\n".encode("utf-16"))
    assert "UTF-8" in fault_of(tmp_path)


@pytest.mark.parametrize(
    ("header", "advice"),
    [
        ("id,title,label_group", "no column 'posting_id'; if it is 'id', say --data.id_column=id (columns: id, title,"),
        ("Posting ID,title,label_group", "say --data.id_column=Posting ID"),
        (
            "x,title,label_group",
            "no column 'posting_id'; name it with --data.id_column= (columns: x, title, label_group)",
        ),
        ("posting_id,name,label_group", "say --data.title_column=name, or --data.title_column= if there is none"),
        ("posting_id,image,Title,label_group", "no column 'title'; if it is 'Title'"),
        ("posting_id,images,title,label_group", "no column 'image'; if it is 'images'"),
        ("posting_id,title,cluster", "no column 'label_group'; if it is 'cluster', say --data.label_column=cluster"),
        (
            "posting_id,label_group,price",
            "neither a title nor an image column (columns: posting_id, label_group, price)",
        ),
        ("posting_id,title,title,label_group", "2 columns are called 'title'"),
        ("posting_id;title;label_group", "(columns: posting_id;title;label_group)"),
    ],
)
def test_missing_columns_are_named_with_advice(header: str, advice: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(f"{header}\n{','.join('abcdefg'[: header.count(',') + 1])}\n")
    assert advice in fault_of(tmp_path)


def test_a_column_named_in_the_settings_must_be_there(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of("a"))
    message = fault_of(tmp_path, title_column="nom", phash_column="hash", label_column="klass")
    assert "no column 'nom'" in message
    assert "no column 'hash'" in message
    assert "no column 'klass'" in message


def test_renamed_columns_are_read_when_named(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(f"sku,name,hash,product\n1,Sabun,{HASH.upper()},p\n")
    names = {"id_column": "sku", "title_column": "name", "phash_column": "hash", "label_column": "product"}
    catalog = read(tmp_path, **names)
    assert [catalog.ids[0], catalog.titles[0], catalog.labels[0]] == ["1", "Sabun", "p"]
    assert catalog.phashes[0] == int(HASH, 16)


def test_title_or_image_alone_will_do(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("posting_id,title\n1,Sabun\n")
    assert read(tmp_path / "a.csv", labeled=False).titles.tolist() == ["Sabun"]
    draw(tmp_path / "images" / "x.png")
    (tmp_path / "b.csv").write_text("posting_id,image\n1,x.png\n")
    catalog = read(tmp_path / "b.csv", labeled=False)
    assert catalog.has_image.tolist() == [True]
    assert catalog.titles.tolist() == [""]


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_rows(ending: str, tmp_path: Path) -> None:
    write(tmp_path / f"train{ending}", [])
    assert ("the file is empty" if "jsonl" in ending else "no rows") in fault_of(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    assert "the file is empty" in fault_of(tmp_path)


def test_one_row_is_a_catalog(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "train.csv", rows_of("1")))) == 1


def test_labels_are_not_read_unless_needed(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of("1", "2"))
    assert read(tmp_path, labeled=False).labels.tolist() == [None, None]
    (tmp_path / "train.csv").write_text("posting_id,title\n1,Sabun\n")
    assert len(read(tmp_path, labeled=False)) == 1
    assert "no column 'label_group'" in fault_of(tmp_path)


@pytest.mark.parametrize("title", ["", "   ", "!!", "x" * 100_000, "عطر", "\u0301"])
def test_odd_titles_keep_their_row(title: str, tmp_path: Path) -> None:
    assert read(write(tmp_path / "train.csv", rows_of("1", title=title))).titles.tolist() == [title]


# Where things lie


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
    with pytest.raises(MatcherError, match=r"data.images=none: no such folder, neither in .* nor in"):
        find_source(table, DataConfig(images="none"))


def test_nothing_to_read(tmp_path: Path) -> None:
    assert "no such file or folder" in fault_of(tmp_path / "none")
    assert "no train.csv in it (nor train.csv.gz" in fault_of(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert "not a table; a table's name ends with .csv" in fault_of(tmp_path / "notes.txt")
    (tmp_path / "train.csv").mkdir()
    assert "not a regular file" in fault_of(tmp_path)
    write(tmp_path / "train.jsonl", rows_of("1"))
    assert "holds train.csv and train.jsonl" in fault_of(tmp_path)


@pytest.mark.parametrize("name", ["train.csv.gz", "train.parquet"])
def test_damaged_files(name: str, tmp_path: Path) -> None:
    data = write(tmp_path / name, rows_of(*map(str, range(100)))).read_bytes()
    for damaged in (b"", b"not at all", data[: len(data) // 2]):
        (tmp_path / name).write_bytes(damaged)
        assert "cannot be read" in fault_of(tmp_path) or damaged == b""


def test_a_fifo_for_a_table_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.csv")
    assert "not a regular file" in fault_of(tmp_path)


# Pictures


def folder(tmp_path: Path, names: list[str], **columns: str) -> Path:
    rows = [
        {**row, "image": name}
        for row, name in zip(rows_of(*map(str, range(len(names))), **columns), names, strict=True)
    ]
    write(tmp_path / "train.csv", rows)
    return tmp_path


def test_pictures_are_measured(tmp_path: Path) -> None:
    image = draw(tmp_path / "train_images" / "a.png")
    path = tmp_path / "train_images" / "a.png"
    catalog = read(folder(tmp_path, ["a.png", ""], image_phash=HASH))
    first, second = catalog.table.to_pylist()
    assert (first["width"], first["height"], first["bytes"]) == (60, 40, path.stat().st_size)
    assert f"{first['phash']:016x}" == str(imagehash.phash(image))  # of the file, not the one given
    assert first["image_fault"] is None
    assert (second["phash"], second["image_sha"], second["image_fault"]) == (int(HASH, 16), None, None)
    assert catalog.image_folder == tmp_path / "train_images"
    assert catalog.image_paths() == [path, None]


def test_bad_pictures_keep_their_row_and_say_why(tmp_path: Path) -> None:
    images = tmp_path / "train_images"
    draw(images / "ok.jpg")
    draw(images / "deep" / "ok.png")
    draw(tmp_path / "secret.png")
    data = (images / "ok.jpg").read_bytes()
    (images / "cut.jpg").write_bytes(data[: len(data) // 2])
    (images / "page.jpg").write_text("<html>")
    (images / "empty.jpg").touch()
    (images / "folder.jpg").mkdir()
    os.mkfifo(images / "fifo.jpg")
    (images / "inside.jpg").symlink_to("ok.jpg")
    (images / "outside.jpg").symlink_to(tmp_path / "secret.png")
    (images / "way").symlink_to(tmp_path)
    (images / "loop.jpg").symlink_to("loop.jpg")
    (images / "device.jpg").symlink_to("/dev/zero")
    outside = "outside the image folder"
    expected = {
        "ok.jpg": None,
        "deep/ok.png": None,
        "inside.jpg": None,
        "": None,
        "cut.jpg": "truncated",
        "page.jpg": "not an image",
        "empty.jpg": "empty file",
        "folder.jpg": "not a regular file",
        "fifo.jpg": "not a regular file",
        "none.jpg": "no such file",
        "../secret.png": outside,
        "deep/../ok.jpg": outside,
        str(tmp_path / "secret.png"): outside,
        str(images / "ok.jpg"): outside,
        "outside.jpg": outside,
        "way/secret.png": outside,
        "device.jpg": outside,
    }
    start = time.monotonic()
    catalog = read(folder(tmp_path, [*expected, "loop.jpg", "a\0b", "x" * 300], image_phash=HASH))
    assert time.monotonic() - start < 10
    faults = catalog.column("image_fault").tolist()
    assert dict(zip(expected, faults, strict=False)) == expected
    assert all(fault.startswith("cannot be opened") for fault in faults[-3:])
    assert catalog.column("image").tolist()[:3] == [*expected][:3]
    assert catalog.has_image.tolist() == [
        name in ("ok.jpg", "deep/ok.png", "inside.jpg") for name in catalog.column("image")
    ]
    assert all(phash == int(HASH, 16) for phash in catalog.phashes[~catalog.has_image])


def test_too_many_pixels(tmp_path: Path) -> None:
    draw(tmp_path / "train_images" / "a.png")
    catalog = read(folder(tmp_path, ["a.png"]), max_pixels=2000)
    assert catalog.column("image_fault").tolist() == ["too large: 0 megapixels"]


def test_every_picture_bad_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "train_images").mkdir()
    (tmp_path / "train_images" / "a.jpg").touch()
    catalog = read(folder(tmp_path, ["a.jpg", "b.jpg"]))
    assert catalog.column("image_fault").tolist() == ["empty file", "no such file"]
    assert without_pictures(catalog) == "pictures that cannot be used 2 · empty file 1 · no such file 1"
    assert without_pictures(read(tmp_path, image_column="")) is None


def test_an_image_folder_without_the_images_is_an_error(tmp_path: Path) -> None:
    draw(tmp_path / "train_images" / "other.png")
    message = fault_of(folder(tmp_path, ["a.jpg", "b.jpg", "a.jpg", ""]))
    assert "names 2 images (a.jpg, …), none of them is in" in message
    assert "--data.images=" in message
    assert read(tmp_path, image_column="").has_image.tolist() == [False] * 4


def test_no_image_folder_is_none(tmp_path: Path) -> None:
    for data in (folder(tmp_path, ["a.jpg", ""], image_phash=HASH), tmp_path / "train.csv"):
        catalog = read(data)
        assert catalog.column("image_fault").tolist() == ["no image folder", None]
        line = "pictures that cannot be used 1 · no image folder 1 (--data.images=FOLDER names one)"
        assert without_pictures(catalog) == line
        assert catalog.has_phash.tolist() == [True, True]
        assert catalog.image_folder is None


def test_each_file_is_decoded_once_whatever_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{n % 7}.png" for n in range(30)]
    for n in range(7):
        draw(tmp_path / "train_images" / f"{n}.png", n)
    decoded: list[str] = []
    inspect = shared.catalog.images.inspect
    monkeypatch.setattr(
        shared.catalog.image_folder, "inspect", lambda path, limit: decoded.append(path.name) or inspect(path, limit)
    )
    tables = [read(folder(tmp_path, names), threads=threads).table for threads in (1, 4)]
    assert tables[0].equals(tables[1])
    assert Counter(decoded) == {f"{n}.png": 2 for n in range(7)}
    shas = tables[0].column("image_sha").to_pylist()
    assert [shas[n % 7] for n in range(30)] == shas
    assert len(set(shas)) == 7


# Fingerprints


def fingerprint(data: Path, **options: Any) -> dict[str, str]:
    config = DataConfig(**options)
    return catalog_fingerprint(find_source(data, config), config)


def test_fingerprint_follows_content_alone(tmp_path: Path) -> None:
    for n in range(3):
        draw(tmp_path / "train_images" / f"{n}.png", n)
    data = folder(tmp_path, ["0.png", "1.png", "later.png", "../train.csv", ""])
    before = fingerprint(data)
    assert before == fingerprint(data)

    os.utime(tmp_path / "train.csv", (1, 1))
    os.utime(tmp_path / "train_images" / "0.png", (1, 1))
    draw(tmp_path / "train_images" / "2.png", 9)  # not named
    assert fingerprint(data) == before

    (tmp_path / "train_images" / "1.png").write_bytes((tmp_path / "train_images" / "0.png").read_bytes())
    changed = fingerprint(data)
    assert changed["table"] == before["table"]
    assert changed["images"] != before["images"]

    draw(tmp_path / "train_images" / "later.png", 5)
    assert fingerprint(data)["images"] not in (before["images"], changed["images"])


def test_fingerprint_of_the_table(tmp_path: Path) -> None:
    draw(tmp_path / "train_images" / "a.png")
    before = fingerprint(folder(tmp_path, ["a.png", ""]))
    after = fingerprint(folder(tmp_path, ["", "a.png"]))
    assert before["table"] != after["table"]
    assert before["images"] == after["images"]


def test_swapped_pictures_change_the_fingerprint(tmp_path: Path) -> None:
    images = tmp_path / "train_images"
    draw(images / "a.png", 1)
    draw(images / "b.png", 2)
    data = folder(tmp_path, ["a.png", "b.png"])
    before = fingerprint(data)
    (images / "a.png").rename(images / "c.png")
    (images / "b.png").rename(images / "a.png")
    (images / "c.png").rename(images / "b.png")
    assert fingerprint(data)["images"] != before["images"]
