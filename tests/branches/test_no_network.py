"""A model of a hub that was asked for and cannot be had: the error says which file to place where."""

import socket

import pytest

from branches.distilbert.config import Config as DistilbertConfig
from branches.distilbert.model import create_model as create_text_model
from branches.image.config import Config as ImageConfig
from branches.image.model import create_model as create_image_model
from shared.errors import MatcherError


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("time.sleep", lambda _: None)  # libraries try several times


@pytest.mark.fault(29)
@pytest.mark.slow
@pytest.mark.usefixtures("_no_network")
def test_a_model_that_cannot_be_had_names_files_and_place() -> None:
    with pytest.raises(
        MatcherError, match=r"model\.safetensors of https://huggingface\.co/timm/resnet18 into a folder"
    ):
        create_image_model(ImageConfig(backbone="resnet18", size=64))
    with pytest.raises(MatcherError, match=r"https://huggingface\.co/some/bert into a folder and set distilbert"):
        create_text_model(DistilbertConfig(model="some/bert"))
