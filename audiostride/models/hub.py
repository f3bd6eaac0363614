"""Model folders on the Hugging Face hub.

`Classifier` does not inherit `PyTorchModelHubMixin`, because huggingface_hub is optional. Its methods have
the names and arguments of the mixin, and the files are the same.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import audiostride
from audiostride.config.run_folder import CARD, MODEL_CONFIG, WEIGHTS
from audiostride.errors import UserError
from audiostride.models.classifier import Classifier


def upload(
    classifier: Classifier, repo_id: str, private: bool | None, token: str | None, options: dict[str, Any]
) -> str:
    """Save a classifier in a temporary folder and upload that, see `Classifier.push_to_hub`."""
    hub = _hub()
    with TemporaryDirectory() as temporary:
        try:
            hub.utils.validate_repo_id(repo_id)
            folder = Path(temporary) / repo_id.rpartition("/")[2]
            classifier.save(folder)
            api = hub.HfApi(token=token)
            created = api.create_repo(repo_id=repo_id, private=private, exist_ok=True).repo_id
            commit = api.upload_folder(repo_id=created, repo_type="model", folder_path=folder, **options)
        except UserError:
            raise
        except Exception as error:  # several libraries for transport raise errors of their own
            raise UserError(f"the hub did not take {repo_id}: {_first_line(error)}") from error
    return str(commit)


def download(repo_id: str, options: dict[str, Any]) -> Path:
    """Return the folder in the cache with a model of the hub, see `Classifier.from_pretrained`."""
    hub = _hub()
    try:
        return Path(
            hub.snapshot_download(
                repo_id,
                allow_patterns=[MODEL_CONFIG, WEIGHTS, CARD],
                library_name="audiostride",
                library_version=audiostride.__version__,
                **options,
            )
        )
    except Exception as error:  # several libraries for transport raise errors of their own
        raise UserError(
            f"there is no folder {repo_id}, and it cannot be loaded from the hub: {_first_line(error)}"
        ) from error


def _hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            "the hub needs huggingface_hub, which is not installed: pip install 'audiostride[hub]'"
        ) from error
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
