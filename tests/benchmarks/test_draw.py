"""Results become tables and a chart of a document."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.chart import chart
from tests.benchmarks.draw import BEGIN, END, growth, into, save_chart, section
from tests.benchmarks.measure import KEY
from tests.benchmarks.results import Results
from tests.benchmarks.sampling import OWN
from tests.support.rows import stage_row


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results.open(tmp_path / "results.json")
    rows = [stage_row("whole", size, size / 500, row_f1=0.9) for size in (5000, 35_000, 70_000)]
    rows += [stage_row("search image", size, size**2 / 1e7, recall=0.8) for size in (5000, 35_000, 70_000)]
    rows += [stage_row("search image", 70_000, 980.0, recall=0.81, settings={"image": {"neighbors": "60"}})]
    results.add("stages", rows, KEY)
    way = {"kind": "dense", "listings": 35_000, "threads": 1, "settings": {}, "recall": 1.0, "true_pairs": 0.9}
    ours = way | {"method": "ours", "ratio": 1.0, "cpu_seconds": 8.0}
    exact = ours | {"settings": {"distilbert": {"search": "exact"}}}
    rows = [ours, way | {"method": "faiss, flat", "ratio": 2.5}, exact]
    results.add("alternatives", rows, ["method", "settings"])
    results.add("profiles", [stage_row("whole", 5000, 10.0, shares={"numpy": 0.75, OWN: 0.25})], KEY)
    results.add("device", [{"what": "a network", "device": "a GPU", "value": 1234.5, "unit": "images/s"}], ["what"])
    return results


def test_section_has_all_tables(results: Results) -> None:
    text = section([results], "speed.svg")
    assert "| **whole, table to matches** | 10 s · 0.1 GB | 70 s · 0.1 GB | 140 s · 0.1 GB | 2.00 |" in text
    assert "| search, image vectors | 2.5 s · 0.1 GB | 122 s · 0.1 GB | 8.2 min · 0.1 GB | 4.00 |" in text
    assert "| 70,000 | `image.neighbors=60` | 16.3 min · 0.1 GB | 0.50 | 0.9877 |" in text
    assert "| way | 35,000 listings | 35,000 listings, `distilbert.search=exact` |" in text
    assert "| ours | 1.00 (8.0 s) · 1.000 · 0.900 | 1.00 (8.0 s) · 1.000 · 0.900 |" in text
    assert "| faiss, flat | 2.50 · 1.000 · 0.900 |  |" in text
    assert "| whole, table to matches | 10 s | 75% | 25% |" in text
    assert "| a network | a GPU | 1,234 images/s |" in text


def test_growth_needs_two_sizes_and_seconds_that_say_something() -> None:
    assert growth([(35_000, 2.0), (140_000, 8.0)]) == pytest.approx(2)
    assert growth([(35_000, 2.0)]) is None
    assert growth([(35_000, 0.1), (70_000, 8.0)]) is None


def test_document_keeps_what_stands_around_the_section(results: Results, tmp_path: Path) -> None:
    document = tmp_path / "RESULTS.md"
    document.write_text("# Results\n\n## Other\n\nWords.\n", encoding="utf-8")
    assert main(["draw", str(results.path), "--into", str(document)]) == 0
    first = document.read_text(encoding="utf-8")
    assert first.startswith(
        "# Results\n\n## Other\n\nWords.\n\n## Speed and scale\n\n```sh\npython -m tests.benchmarks"
    )
    assert first.count(BEGIN) == first.count(END) == 1
    assert "![Seconds of each stage against the number of listings](speed.svg)" in first
    assert (tmp_path / "speed.svg").stat().st_size < 30_000
    document.write_text(first.replace(BEGIN, f"Before.\n\n{BEGIN}").replace(END, f"{END}\n\nAfter."), encoding="utf-8")
    into(document, "new")
    assert f"Before.\n\n{BEGIN}\n\nnew\n{END}\n\nAfter.\n" in document.read_text(encoding="utf-8")


def test_chart_draws_rows_of_equally_many_threads(results: Results, tmp_path: Path) -> None:
    other = Results.open(tmp_path / "other.json")
    other.add("stages", [stage_row("union", size, 1.0, threads=2) for size in (5000, 35_000)], KEY)
    assert save_chart([results, other], tmp_path / "speed.svg")
    text = (tmp_path / "speed.svg").read_text(encoding="utf-8")
    assert "whole, table to matches" in text
    assert ">union<" not in text


def test_files_without_a_measurement_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Results.open(tmp_path / "empty.json").add("stages", [], KEY)
    assert main(["draw", str(tmp_path / "empty.json")]) == 2
    assert "hold no measurement" in capsys.readouterr().err


def test_missing_file_is_named(results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "RESULTS.md"
    assert main(["draw", str(results.path), str(tmp_path / "mistyped.json"), "--into", str(document)]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert not document.exists()


def test_rows_of_other_threads_have_a_table_of_their_own(tmp_path: Path) -> None:
    results = Results.open(tmp_path / "results.json")
    for threads, seconds in ((2, 40.0), (1, 70.0)):
        results.add("stages", [stage_row("whole", 35_000, seconds, threads=threads)], KEY)
    text = section([results], "speed.svg")
    assert text.index("| 40 s · ") < text.index("| 70 s · ")
    assert text.count("| stage | 35,000 |") == 2
    assert text.count("speed.svg") == 1


def test_chart_elsewhere_is_linked_from_the_document(results: Results, tmp_path: Path) -> None:
    document, svg = tmp_path / "RESULTS.md", tmp_path / "charts" / "speed.svg"
    svg.parent.mkdir()
    assert main(["draw", str(results.path), "--into", str(document), "--chart", str(svg)]) == 0
    assert "(charts/speed.svg)" in document.read_text(encoding="utf-8")


def test_chart_draws_a_line_per_stage_and_keeps_names_apart() -> None:
    text = chart({f"stage {number}": [(1000, 1.0), (10_000, 10.0)] for number in range(12)})
    assert text.count("<polyline") == 12
    heights = sorted(float(y) for y in re.findall(r'<text x="514" y="([\d.]+)"', text))
    assert min(np.diff(heights)) > 12
    assert "<svg" in text[:10]
