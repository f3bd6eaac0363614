"""Pushing to the hub and loading from it, with a hub that is a folder: nothing reaches the internet."""

import shutil
import sys
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
import torch
from helpers.model_folders import FILES, make, sound

from audiostride import Classifier
from audiostride.errors import UserError

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces the functions of huggingface_hub by copies to and from a folder; returns their arguments."""
    remote, calls = tmp_path / "remote", {}

    def create_repo(api: Any, repo_id: str, **options: Any) -> Any:
        calls["create_repo"] = {"token": api.token, **options}
        return huggingface_hub.RepoUrl(f"https://hub.test/{repo_id}", endpoint="https://hub.test")

    def upload_folder(api: Any, *, repo_id: str, folder_path: Path, **options: Any) -> str:
        calls["upload_folder"] = options
        shutil.copytree(folder_path, remote / repo_id, dirs_exist_ok=True)
        (remote / repo_id / "pytorch_model.bin").write_bytes(b"a pickle")
        return f"https://hub.test/{repo_id}/commit/1"

    def snapshot_download(repo_id: str, *, allow_patterns: list[str], **options: Any) -> str:
        calls["snapshot_download"] = options
        cache = tmp_path / "cache" / repo_id
        cache.mkdir(parents=True)
        for name in allow_patterns:
            shutil.copy(remote / repo_id / name, cache)
        return str(cache)

    # The fakes take only the arguments that the real functions take.
    api = huggingface_hub.HfApi
    for target, name, fake in (
        (api, "create_repo", create_repo),
        (api, "upload_folder", upload_folder),
        (huggingface_hub, "snapshot_download", snapshot_download),
    ):
        monkeypatch.setattr(target, name, create_autospec(getattr(target, name), side_effect=fake))
    return calls


def test_pushed_model_loads_from_the_hub_bit_for_bit(hub: dict[str, Any], tmp_path: Path) -> None:
    model = make()
    address = model.push_to_hub("me/words", private=True, token="hf_secret", branch="dev")
    assert address == "https://hub.test/me/words/commit/1"
    assert hub["create_repo"] == {"token": "hf_secret", "private": True, "exist_ok": True}
    assert hub["upload_folder"]["revision"] == "dev"
    loaded = Classifier.from_pretrained("me/words", revision="dev")
    assert hub["snapshot_download"]["revision"] == "dev"
    assert sorted(file.name for file in (tmp_path / "cache" / "me" / "words").iterdir()) == FILES
    assert loaded.labels == model.labels
    with torch.no_grad():
        for task, logits in model(sound()).items():
            assert torch.equal(loaded(sound())[task], logits)
    assert (tmp_path / "remote" / "me" / "words" / "README.md").read_text().count("# words\n") == 1


def test_complete_card_is_pushed_along(hub: dict[str, Any], tmp_path: Path) -> None:
    make().save(tmp_path / "m", card="# Tested\n")
    Classifier.from_pretrained(tmp_path / "m").push_to_hub("me/words")
    assert (tmp_path / "remote" / "me" / "words" / "README.md").read_text() == "# Tested\n"


@pytest.mark.parametrize("name", ["me/..", "", "a/b/c", "/m", "a b"])
def test_impossible_names_report_a_clear_error(name: str, hub: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="the hub did not take"):
        make().push_to_hub(name)
    assert not hub


def test_refusal_of_the_hub_is_one_sentence(hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise OSError("403 Forbidden: you may not write here.\nRequest ID 1")

    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", refuse)
    with pytest.raises(
        UserError, match=r"^the hub did not take me/words: 403 Forbidden: you may not write here\.$"
    ):
        make().push_to_hub("me/words")


def test_model_that_is_not_in_the_cache_reports_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"there is no folder me/nothing, and it cannot be loaded from the hub: "
    ):
        Classifier.from_pretrained("me/nothing", local_files_only=True, cache_dir=tmp_path)
    with pytest.raises(UserError, match=r"there is no folder \./nothing, and"):
        Classifier.from_pretrained("./nothing", local_files_only=True, cache_dir=tmp_path)


def test_folders_need_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    make().save(tmp_path / "m")
    assert Classifier.from_pretrained(tmp_path / "m").labels == make().labels
    for call in (lambda: make().push_to_hub("me/words"), lambda: Classifier.from_pretrained("me/words")):
        with pytest.raises(UserError, match=r"not installed: pip install 'audiostride\[hub\]'$"):
            call()
