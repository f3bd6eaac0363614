"""The command on the card of a prepared corpus repeats what made it."""

import csv
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

from helpers.noise_corpus import contents, write_class_folders

from audiostride import cli
from audiostride.corpora import DATASETS
from audiostride.data.prepare_command import prepare_command
from audiostride.data.store import Store, open_store, write_card
from audiostride.prepare.dataset import prepare_dataset


def test_command_of_a_card_prepares_the_same_corpus(working_folder: Path) -> None:
    write_class_folders(Path("calls"))
    with Path("list.csv").open("w", newline="") as file:
        rows = [
            [str(path), path.parent.name, "ab"[n % 3 == 0]]
            for n, path in enumerate(Path("calls").rglob("*.wav"))
        ]
        csv.writer(file).writerows([["path", "call, loud", "other"], *rows])
    made = {
        "folder": (["calls"], ["--group", "/(s[0-9]+)_", "--task=call", "--longest=60", "--bad=5"]),
        "csv": (["list.csv"], ["--labels", "[other, 'call, loud']", "--sample_rate=8000"]),
    }
    for name, (source, options) in made.items():
        assert cli.main(["prepare", name, *source, *options, "--out=first"]) == 0
        command = prepare_command(open_store(Path("first")), out=Path("second"))
        assert command is not None
        assert cli.main(shlex.split(command)[1:]) == 0
        assert contents(Path("first")) == contents(Path("second"))
        shutil.rmtree("first")
        shutil.rmtree("second")


def test_dataset_from_python_is_named_on_the_card(words: Path, out: Path) -> None:
    made = prepare_dataset(DATASETS["speech_commands"], words, out, options={"split": "paper"})
    assert made.card["command"] == ["speech_commands", str(words), "--split=paper"]


def test_corpus_of_an_older_version_opens_without_the_new_entries(store: Store, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(store.folder, tmp_path / "old"))
    card = json.loads((folder / "card.json").read_text())
    write_card(folder, {key: card[key] for key in card if key not in ("command", "lower_rates", "checksum")})
    old = open_store(folder)
    assert old.sample_rate == 16000
    assert old.identity == store.identity
    command = prepare_command(old)
    assert command is not None
    assert command.startswith("audiostride prepare speech_commands ")


def test_card_of_an_earlier_version_names_the_dataset_alone(store: Store) -> None:
    card = store.card | {"sample_rate": 8000, "longest": 60.0, "folder": "there"}
    assert prepare_command(replace(store, folder=Path("x"), card=card)) == (
        "audiostride prepare speech_commands there --split=official --longest=60 --sample_rate=8000 --out=x"
    )
    assert prepare_command(replace(store, card=card | {"corpus": "mine"})) is None
