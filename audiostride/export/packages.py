"""The packages of the extra `export`."""

from importlib.util import find_spec

from audiostride.errors import UserError


def require(*packages: str) -> None:
    """Raise `UserError` if a package of the extra `export` is missing, with the command that installs it."""
    if missing := [package for package in packages if find_spec(package) is None]:
        raise UserError(
            f"exporting needs {' and '.join(missing)}: install {'it' if len(missing) == 1 else 'them'} with "
            "pip install 'audiostride[export]'"
        )
