"""Check the names under `run` before anything is computed, with better words than DVC's."""

from stages.command import PARAMS, stage


@stage
def main() -> None:
    from lmm4rec.run import read_run

    read_run(PARAMS)


if __name__ == "__main__":
    main()
