"""Faults of columns and values: all at once, each with its row and what to do."""

from pathlib import Path

import pytest

from tests.support.listings import HASH, draw, fault_of, read, rows_of, write


@pytest.mark.fault(2)
def test_one_error_names_every_fault(tmp_path: Path) -> None:
    lines = [
        "posting_id,image_phash,title,label_group",
        f"a,{HASH},T,g",
        "a,,T,g",  # 2: twice
        " ,,T,g",  # 3: no id
        "b,12345,T,g",  # a hash that cannot be read is no fault
        "c,,T",  # 5: too short
        "d,,T,g,h,i",  # 6: too long
        'e,,"T"x,g',  # 7: broken quotes
        f"f,{HASH[:-1]}Z,T,",  # neither is a label that is missing
        'g,,"two\nlines",g',
        "a,,T, ",  # 10: twice
    ]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    message = fault_of(tmp_path)
    assert "train.csv (row 1 is the first below the header): 6 faults" in message
    assert [line.strip(" -").partition(":")[0] for line in message.splitlines()[1:]] == [
        *(f"row {n}" for n in (2, 3, 5, 6, 7, 10)),
    ]
    for part in (
        "row 2: id 'a' stands in row 1 already",
        "row 3: empty posting_id",
        "row 5: 3 fields where the header has 4 (line 6)",
        "row 6: 6 fields where the header has 4 (line 7)",
        "row 7: broken quotes from line 8 on",
    ):
        assert part in message
    assert "label" not in fault_of(tmp_path, labeled=False)


@pytest.mark.fault(2)
def test_many_faults_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of(*["same"] * 80, label_group=""))
    message = fault_of(tmp_path)
    assert "80 faults" in message
    assert "no row has a label_group; label some" in message
    assert "and 30 more" in message


@pytest.mark.fault(2)
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
        ("posting_id;title", "no column 'label_group'; name it with --data.label_column= (columns: posting_id, title)"),
        ("posting_id^title^label_group", "nothing parts the header 'posting_id^title^label_group'"),
    ],
)
def test_missing_columns_are_named_with_advice(header: str, advice: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(f"{header}\n{','.join('abcdefg'[: header.count(',') + 1])}\n")
    assert advice in fault_of(tmp_path)


@pytest.mark.parametrize(("text", "fault"), [("[[1, 2]]", "row 1: not a JSON object"), ("[]", "the file is empty")])
def test_rows_without_any_column_are_one_fault(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    assert fault_of(tmp_path / "t.json").splitlines()[1:] == [f"  - {fault}"]


def test_header_that_nothing_parts_is_no_name_of_a_column(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("posting_id^title^label_group\na\n")
    assert "--data.id_column=posting_id^" not in fault_of(tmp_path)


def test_a_column_named_in_the_settings_must_be_there(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of("a"))
    message = fault_of(tmp_path, title_column="nom", phash_column="hash", label_column="klass")
    assert "no column 'nom'" in message
    assert "no column 'hash'" in message
    assert "no column 'klass'" in message


@pytest.mark.fault(2)
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


@pytest.mark.fault(2)
def test_one_row_is_a_catalog(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "train.csv", rows_of("1")))) == 1


@pytest.mark.fault(4)
def test_labels_are_not_read_unless_needed(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of("1", "2"))
    assert read(tmp_path, labeled=False).labels.tolist() == [None, None]
    (tmp_path / "train.csv").write_text("posting_id,title\n1,Sabun\n")
    assert len(read(tmp_path, labeled=False)) == 1
    assert "no column 'label_group'" in fault_of(tmp_path)


@pytest.mark.fault(3)
@pytest.mark.parametrize("title", ["", "   ", "!!", "x" * 100_000, "عطر", "\u0301"])
def test_odd_titles_keep_their_row(title: str, tmp_path: Path) -> None:
    assert read(write(tmp_path / "train.csv", rows_of("1", title=title))).titles.tolist() == [title]
