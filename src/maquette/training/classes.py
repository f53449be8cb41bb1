"""Classes of other packages, found by the name that a setting gives. Importing a package is all that is ever run of it here."""

from __future__ import annotations

import importlib
from typing import Any

from maquette.errors import ConfigError, Problem, did_you_mean


def load_class(path: str, base: type, setting: str) -> type[Any]:
    """Return the class `path` (package.module.Class), which must be a `base`. Raises ConfigError naming `setting`."""
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        package = module_name.partition(".")[0]
        missing = getattr(error, "name", None) in (package, None)
        raise ConfigError(
            Problem(
                setting,
                f"'{path}': the package {package} is not installed" if missing else f"'{path}': {error}",
                "a class that can be imported",
                f"Install the package that holds it (pip install {package}), or correct the name.",
            )
        ) from error
    found = getattr(module, name, None)
    if not isinstance(found, type) or not issubclass(found, base):
        known = [
            each
            for each, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, base) and value is not base
        ]
        given = (
            f"'{path}': {module_name} has no {name}" if found is None else f"'{path}' is no {base.__name__}"
        )
        raise ConfigError(
            Problem(
                setting,
                given,
                f"a class that is a {base.__module__}.{base.__name__}",
                did_you_mean(name, known),
            )
        )
    return found
