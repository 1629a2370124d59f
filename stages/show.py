"""Print a section of params.yaml as stages read it, with what it takes in from `defaults`.

`python -m stages.show datasets.my-shop`; no stage of the pipeline, it writes nothing.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from stages.running.command import PARAMS, stage


@stage
@click.argument("key")
def main(key: str) -> None:
    """Print the section at the dotted KEY of params.yaml, checked, with its defaults in place."""
    from lmm4rec.params import find, read_params
    from lmm4rec.study.models import checked, sections_of
    from lmm4rec.study.run import read_run

    content = read_params(PARAMS)
    value = find(content, key, PARAMS)
    if key.partition(".")[0] == "run":
        read_run(PARAMS)
    for section in sections_of(content):
        if f"{section}.".startswith(f"{key}.") or f"{key}.".startswith(f"{section}."):
            checked(PARAMS, section)
    for step in reversed(key.split(".")):
        value = {step: value}
    _print_yaml(value)


def _print_yaml(value: Any) -> None:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.representer.ignore_aliases = lambda _: True
    yaml.dump(value, sys.stdout)


if __name__ == "__main__":
    main()
