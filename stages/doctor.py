"""Verify what is cached here, byte by byte, and say what is wrong with it and what to do."""

import shutil
import sys
from pathlib import Path

import click

from stages.running.command import stage


@stage
@click.option("--mend", is_flag=True, help="delete what is damaged or half written")
def main(mend: bool) -> None:
    from stages.running.health import examine

    found = list(examine(Path.cwd()))
    for finding in found:
        click.echo(finding.sentence)
    if mend:
        for path in {path for finding in found for path in finding.useless}:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            click.echo(f"deleted {path}")
    harmful = sum(finding.harmful for finding in found)
    click.echo(f"{len(found)} findings, {harmful} of them harmful" if found else "All is well.")
    sys.exit(1 if harmful and not mend else 0)


if __name__ == "__main__":
    main()
