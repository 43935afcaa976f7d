"""Tables that are too large are refused before they take memory, with the bound in the error."""

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shared.catalog.tables.bounds as bounds
import shared.catalog.tables.delimited
import shared.catalog.tables.json_rows
import shared.catalog.tables.text
from shared.catalog.tables import TableSettings, frame_table, read_table
from shared.errors import MatcherError

READ = {"posting_id", "title"}
SMALL = TableSettings(max_gb=1e-4)  # 100 kB


def refusal(path: Path, settings: TableSettings = SMALL) -> str:
    with pytest.raises(MatcherError) as error:
        read_table(path, READ, settings)
    return str(error.value)


@pytest.mark.fault(32)
@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv", "t.jsonl.gz", "t.json"])
def test_size_once_decompressed(name: str, tmp_path: Path) -> None:
    data = b"posting_id,title\n" + b"1,a\n" * 50_000 if "csv" in name else b'{"posting_id": 1}\n' * 20_000
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert "more than 0.0001 GB once it is decompressed" in refusal(tmp_path / name)
    assert "--data.max_table_gb" in refusal(tmp_path / name)
    assert len(read_table(tmp_path / name, READ, TableSettings(max_gb=0.001))) >= 20_000


@pytest.mark.fault(32)
def test_size_of_a_dictionary_that_is_expanded(tmp_path: Path) -> None:
    titles = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), pa.array(["x" * 1000]))
    pq.write_table(pa.table({"posting_id": list(map(str, range(1000))), "title": titles}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 20_000
    assert "once it is decompressed" in refusal(tmp_path / "t.parquet")


@pytest.mark.fault(32)
@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY"])
def test_size_of_a_parquet_file(encoding: str, tmp_path: Path) -> None:
    table = pa.table({"posting_id": list(map(str, range(1000))), "title": ["x" * 1000] * 1000})
    pq.write_table(
        table,
        tmp_path / "t.parquet",
        use_dictionary=False,
        column_encoding={"title": encoding, "posting_id": "PLAIN"},
        compression="zstd",
    )
    assert "once it is decompressed" in refusal(tmp_path / "t.parquet")


@pytest.mark.fault(32)
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json", "t.parquet"])
def test_cell_that_is_too_long_names_its_row(name: str, tmp_path: Path) -> None:
    titles, path = ["ok", "x" * 500], tmp_path / name
    frame = pd.DataFrame({"posting_id": ["1", "2"], "title": titles, "more": ["y" * 900] * 2})
    write: dict[str, Any] = {
        "t.csv": lambda: frame.to_csv(path, index=False),
        "t.jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "t.json": lambda: frame.to_json(path, orient="records"),
        "t.parquet": lambda: frame.to_parquet(path),
    }
    write[name]()
    settings = TableSettings(max_characters=100)
    told = refusal(path, settings) if name == "t.parquet" else str(read_table(path, READ, settings).faults)
    assert "title has 500" in told
    assert "--data.max_characters" in told
    assert read_table(path, READ).faults == []


@pytest.mark.fault(32)
def test_cell_of_a_frame_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"posting_id": ["1"], "title": ["x" * 1_000_001]})
    assert frame_table(frame, READ).faults == [(1, "title has 1,000,001 characters, at most 1,000,000 are read")]


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("name", "start"), [("t.csv", 'posting_id,title\n1,"'), ("t.jsonl", ""), ("t.jsonl", '[{"a":"')]
)
def test_line_that_is_too_long(name: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.catalog.tables.text, "LONGEST_LINE", 100_000)
    monkeypatch.setattr(shared.catalog.tables.json_rows, "LONGEST_LINE", 100_000)
    (tmp_path / name).write_text(start + "x" * 1_000_000)
    assert "more than 100,000 characters" in refusal(tmp_path / name, TableSettings())


@pytest.mark.fault(32)
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.parquet"])
def test_rows_and_columns(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    frame = pd.DataFrame({"posting_id": ["1"] * 50, **{f"c{number}": [1] * 50 for number in range(30)}})
    if name.endswith("parquet"):
        frame.to_parquet(path)
    elif "jsonl" in name:
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)
    monkeypatch.setattr(bounds, "MAX_ROWS", 40)
    assert "more than 40 rows" in refusal(path)
    monkeypatch.setattr(bounds, "MAX_ROWS", 50)
    monkeypatch.setattr(bounds, "MAX_COLUMNS", 30)
    assert "more than 30 columns" in refusal(path)


@pytest.mark.slow
@pytest.mark.fault(32)
def test_gzip_of_gigabytes_takes_little_memory(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wb", compresslevel=1) as file:
        for _ in range(70):
            file.write(b"0" * (1 << 24))
    code = (
        "import resource, sys; from pathlib import Path; from shared.catalog.tables import read_table\n"
        "from shared.errors import MatcherError\n"
        "start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_table(Path(sys.argv[1]))\n"
        "except MatcherError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "t.csv.gz"], capture_output=True, text=True, check=True
    )
    error, mb = told.stdout.splitlines()
    assert "it holds more than 1 GB once it is decompressed" in error
    assert int(mb) < 200
