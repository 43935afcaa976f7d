"""The whole job on titles, disturbed at random changes of files: killed, or refused by the system; then it goes on.

    python tests/support/disturbed_job.py FOLDER SEED DISTURBANCES

Prints one JSON line per disturbance, and a last one that says which files differ from those of an undisturbed run.
Each process is a fork of one that has imported everything, so that the time goes into the job.
"""

import errno
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import lightgbm  # noqa: F401 - imported once, for all
import scipy.stats  # noqa: F401
import sklearn.linear_model  # noqa: F401

from ensemble.__main__ import main

SETTINGS = [
    *("--ensemble.branches=tfidf,phash", "--compute.threads=1", "--compute.device=cpu"),
    *("--scorer.rounds=10", "--scorer.thinned=0.3", "--tune.rules=threshold"),
]
WRITES = ("os.mkdir", "os.rename")
CHANGES = (*WRITES, "os.remove", "os.rmdir", "shutil.rmtree")
REFUSALS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT, errno.EDQUOT)


def table(path: Path, listings: int) -> None:
    """Write titles of products with two listings each."""
    kinds, colors = ("mug", "lamp", "chair", "kettle", "towel"), ("red", "blue", "green", "white")
    lines = ["posting_id,title,label_group"]
    for i in range(listings):
        n = i // 2
        title = f"{colors[n % 4]} {kinds[n % 5]} model {n * 7 % 97}{' new offer' * (i % 2)}"
        lines.append(f"p{i},{title},g{n}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def child(run: Path, data: Path, said: Path, moment: int = 0, number: int | None = None) -> tuple[int, int]:
    """Run the job; at a change of a file it is killed, or the change is refused; return exit code and changes."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        changes = 0

        def hook(event: str, arguments: Any) -> None:
            nonlocal changes
            opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if opens or event in (CHANGES if number is None else WRITES):
                changes += 1
                if changes == moment and number is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                if changes == moment and number is not None:
                    raise OSError(number, os.strerror(number), arguments[0])

        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["ensemble", "--run", str(run), "--data", str(data), *SETTINGS]
        sys.addaudithook(hook)
        code = main()
        os.write(write, str(changes).encode())
        os._exit(code)
    os.close(write)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with open(read, encoding="ascii") as pipe:
        return code, int(pipe.read() or 0)


def files(run: Path) -> dict[str, bytes]:
    """Content of every file of a run by name; of manifests and metrics what tells no time and no cost."""
    found = {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}
    for name in [*found]:
        if name.endswith("manifest.json"):
            manifest = json.loads(found[name])
            found[name] = json.dumps([manifest[key] for key in ("stage", "outputs", "metrics", "key")]).encode()
        elif name == "metrics.json":
            metrics = json.loads(found[name])
            found[name] = json.dumps({key: metrics[key] for key in metrics if key not in ("stages", "total")}).encode()
        elif name.startswith(".lock") or name == "report.html":
            del found[name]
    return found


def study(folder: Path, seed: int, disturbances: int) -> None:
    """Disturb runs in one place, again and again until they are done, and compare what they end with."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    run, data, said = folder / "run", folder / "titles.csv", folder / "said"
    table(data, 40)
    code, changes = child(run, data, said)
    assert code == 0, said.read_text()
    right, done = files(run), 0
    while done < disturbances:
        shutil.rmtree(run)
        is_first, code = True, -1
        while code != 0:
            disturbed = done < disturbances and (is_first or rng.random() < 0.9)
            moment = rng.randint(1, changes // 2) if disturbed else 0
            number = rng.choice(REFUSALS) if done % 2 else None  # a kill, a refusal, a kill …
            code, _ = child(run, data, said, moment, number)
            is_first = False
            assert disturbed or code == 0, said.read_text()  # a run that nothing disturbs goes on to its end
            if code != 0:
                done += 1
                print(json.dumps({"refusal": number, "moment": moment, "code": code, "said": said.read_text()}))
        now = files(run)
        differing = sorted(name for name in right.keys() | now.keys() if right.get(name) != now.get(name))
        print(json.dumps({"differing": differing}), flush=True)


if __name__ == "__main__":
    study(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
