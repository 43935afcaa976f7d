import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble.decision.decision import Decision
from ensemble.evaluation.holdout import evaluate_matches
from ensemble.match_result import MatchResult
from ensemble.report.content import Judged, Report, Sample, catalog_content
from ensemble.report.page import html
from ensemble.report.pool import MatchedPool
from ensemble.report.reliability import reliability_bins
from shared.schema import Catalog, ScoredPairs
from tests.support.catalogs import titled

DECISION = Decision("threshold", 0.5)
Pairs = Sequence[tuple[int, int, float]]
HOSTILE = [
    "</script><script>document.title='owned'</script>",
    '" onerror="document.title=\'owned\'" x="',
    "<img src=x onerror=\"document.title='owned'\">",
    "{{7*7}} {% raw %} ${7*7}",
    "]]><!-- --!> &lt;b&gt; \u2028 \x00",
    "كوب أحمر ٥٠٠ مل \u202e evil",
    "แก้วสีแดง 500 มล ทนความร้อน",
    "红色马克杯 500毫升",
    "javascript:alert(1)",
    "x" * 100_000,
]


def pool_of(catalog: Catalog, pairs: Pairs, codes: Sequence[int] | None = None) -> MatchedPool:
    """Return a pool of scored pairs, matched at .5."""
    left, right, score = (np.array(column) for column in zip(*sorted(pairs), strict=True)) if pairs else ([], [], [])
    scored = ScoredPairs(
        len(catalog), np.asarray(left, np.int32), np.asarray(right, np.int32), np.asarray(score, np.float32)
    )
    result = MatchResult.from_scores(DECISION, catalog, scored)
    return MatchedPool.of_result(result, None if codes is None else np.array(codes, dtype=np.int64))


@pytest.fixture(scope="session")
def make_pool() -> Callable[..., MatchedPool]:
    """Makes a pool of listings with these titles and scored pairs."""

    def make(
        n: int, pairs: Pairs, codes: Sequence[int] | None = None, titles: Sequence[str] | None = None
    ) -> MatchedPool:
        return pool_of(titled(titles or [f"red mug {row}" for row in range(n)]), pairs, codes)

    return make


def report_of(pool: MatchedPool, judged: MatchedPool | None = None, name: str = "") -> Report:
    """Return the report of a pool, judged by the labels of another one."""
    of_pool = None
    if judged is not None:
        metrics = evaluate_matches(judged.matches, judged.pairs, judged.codes)
        of_pool = Judged(judged, metrics, f"a holdout of {len(judged):,} listings")
    content = catalog_content(name, pool, of_pool, DECISION, Sample(12, 4, 0), 10**7)
    curve = [{"pairs": 900, "score": 0.01, "matches": 0.0}, {"pairs": 80, "score": 0.8, "matches": 0.75}]
    return Report("run test", [content], Sample(12, 4, 0), reliability_bins(curve), {"open_ece": None})


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    """Makes the report of a pool, judged by the labels of another one."""
    return report_of


@pytest.fixture(scope="session")
def page_of() -> Callable[..., str]:
    """Returns the page of the report of a pool, judged by the labels of another one."""
    return lambda *arguments: html(report_of(*arguments))


@pytest.fixture(scope="session")
def hostile_pool(tmp_path_factory: pytest.TempPathFactory) -> MatchedPool:
    """A pool with labels whose titles, ids and image names try to break out of the page."""
    folder = tmp_path_factory.mktemp("hostile")
    names = [f"a{row}.png" for row in range(len(HOSTILE))]
    for row, name in enumerate(names):
        Image.new("RGBA", (40, 20), (200, 20 * row, 40, 128)).save(folder / name)
    broken = "<b>broken</b>" + "?" * 30
    columns = {
        "posting_id": [f"<i>{row}</i>\"'" for row in range(len(HOSTILE))],
        "title": HOSTILE,
        "image": names,
        "image_sha": [None if row == 3 else f"{row:064x}" for row in range(len(HOSTILE))],
        "image_fault": [broken if row == 3 else None for row in range(len(HOSTILE))],
    }
    n = len(HOSTILE)
    pairs = [(row, other, 0.9 - 0.05 * row) for row in range(n) for other in range(row + 1, n) if (row + other) % 3]
    catalog = Catalog.from_columns(columns, folder)
    return pool_of(catalog, pairs, [row // 2 for row in range(n)])


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """Returns the bytes of a JPEG whose left half is red, with an EXIF orientation."""

    def make(width: int, height: int, orientation: int = 1) -> bytes:
        image = Image.new("RGB", (width, height), "blue")
        image.paste("red", (0, 0, width // 2, height))
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", exif=exif, quality=95)
        return buffer.getvalue()

    return make


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a page into a file."""

    def write(page: str) -> Path:
        path = tmp_path / "report.html"
        path.write_text(page, encoding="utf-8")
        return path

    return write
