"""Memory that may still be used, and the word about work that does not fit into it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared import memory
from shared.errors import MatcherError
from shared.memory import GB, TORCH, Need, Room, room, shortage
from tests.support.paths import ROOT

HERE = Room(2 * GB, "free on this machine")


def groups(root: Path, line: str, **files: str) -> Path:
    """A root folder in which this process is in one control group; __ stands for / and _dot_ for a dot."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(f"1:cpu:/\n{line}\n")
    for name, text in files.items():
        path = root / "sys" / "fs" / "cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_room_is_what_the_machine_has_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_of_process", lambda libraries: [])
    free = psutil.virtual_memory().available
    assert room(root=tmp_path).free == pytest.approx(free, rel=0.2)
    assert room(root=tmp_path).limit == "free on this machine"


@pytest.mark.parametrize(
    ("line", "files", "free"),
    [
        ("0::/a", {"a__memory_dot_max": "1500\n", "a__memory_dot_current": "500\n"}, 1000),
        ("0::/a/b", {"a__memory_dot_max": "900", "a__memory_dot_current": "500", "a__b__memory_dot_max": "max"}, 400),
        (
            "0::/",
            {
                "memory_dot_max": "1500",
                "memory_dot_current": "500",
                "memory_dot_stat": "anon 9\ninactive_file 150\nactive_file 50",
            },
            1200,
        ),
        (
            "7:memory:/x",
            {"memory__memory_dot_limit_in_bytes": "1500", "memory__memory_dot_usage_in_bytes": "600"},
            900,
        ),
    ],
)
def test_room_in_a_container(tmp_path: Path, line: str, files: dict[str, str], free: int) -> None:
    available = room(root=groups(tmp_path, line, **files))
    assert available.free == free
    assert "container's limit" in available.limit


def test_container_without_a_limit_does_not_count(tmp_path: Path) -> None:
    root = groups(tmp_path, "0::/a", a__memory_dot_max="max\n", a__memory_dot_current="5\n")
    assert room(root=root).limit != "left by the container's limit of 0.0 GB"


def test_shortage_names_the_work_its_need_and_what_needs_less() -> None:
    said = shortage(Need(30 * GB, "less of it"), "image/encoder/all", HERE)
    assert said is not None
    assert said.startswith("image/encoder/all needs about 31.0 GB of memory, and 2.0 GB are free on this machine")
    assert "less of it" in said


def test_no_word_where_the_work_fits() -> None:
    assert shortage(Need(2 * GB - TORCH.bytes, ""), "x", HERE) is None
    assert shortage(Need(20 * GB, ""), "x", HERE) is not None


def test_limit_that_not_even_the_libraries_fit_into_is_an_error() -> None:
    with pytest.raises(MatcherError, match="the libraries do not fit into the memory that is left by the limit"):
        shortage(Need(0, ""), "x", Room(-1, "left by the limit of 1.5 GB (ulimit -v)"))


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv = ["ensemble", *sys.argv[2:]]
from ensemble.__main__ import main
raise SystemExit(main())
"""


def limited(limit: float, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The whole job in a process that may use so many bytes of addresses."""
    line: list[Any] = [sys.executable, "-c", LIMITED, int(limit), *arguments]
    return subprocess.run(list(map(str, line)), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space")
def test_job_with_too_few_addresses_is_refused_before_it_begins(tmp_path: Path) -> None:
    table = tmp_path / "titles.csv"
    table.write_text("posting_id,title,label_group\n" + "".join(f"{i},mug {i // 2},{i // 2}\n" for i in range(40)))
    done = limited(1.5 * GB, "--run", tmp_path / "run", "--data", table)
    assert done.returncode == 2
    assert re.fullmatch(r"error: the libraries do not fit into the memory .*1\.5 GB.*\n", done.stderr)
    assert "encoder" not in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space")
def test_job_without_encoders_fits_into_few_addresses(tmp_path: Path) -> None:
    table = tmp_path / "titles.csv"
    table.write_text("posting_id,title\n" + "".join(f"{i},mug {i // 2}\n" for i in range(40)))
    done = limited(2.5 * GB, "--run", tmp_path / "run", "--data", table, "--ensemble.branches=tfidf,phash")
    assert (done.returncode, done.stderr) == (0, "")
