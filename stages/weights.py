"""Put an encoder's weights into a folder: fetch the published ones, or train a tiny one."""

from pathlib import Path

import click

from stages.running.command import (
    PARAMS,
    SCRATCH,
    device_option,
    output_path,
    stage,
    workers_option,
)


@stage
@click.option("--encoder", required=True, help="a name under `encoders` in params.yaml")
@click.option("--output", required=True, type=output_path)
@click.option("--record", required=True, type=output_path, help="which files of yours were read")
@device_option
@workers_option
def main(encoder: str, output: Path, record: Path, device: str, workers: int) -> None:
    import shutil
    from functools import partial

    from lmm4rec.catalogue.sources.demo_world import captioned_pictures, other_captions
    from lmm4rec.devices import choose_device
    from lmm4rec.doors import fitting
    from lmm4rec.encoders.files.received_files import SOURCES_FILE, ReceivedFiles
    from lmm4rec.encoders.files.weights import Workshop, read_weights
    from lmm4rec.folders import scratch_folder, whole_folder, write_json
    from lmm4rec.local_files import LocalRecord

    weights = read_weights(PARAMS, encoder)
    scratch = scratch_folder(SCRATCH, "weights", weights.model_dump(mode="json"))
    received = ReceivedFiles(scratch, SCRATCH / "sums")
    # This process only waits meanwhile, so its core takes one more worker.
    corpus = (partial(captioned_pictures, processes=workers + 1), other_captions)
    workshop = Workshop(scratch, choose_device(device), workers, *corpus, received)
    local = LocalRecord(f"encoders.{encoder}.weights", record, SCRATCH)
    memory = fitting(f"params.yaml: encoders.{encoder}.weights", "lower its sizes")
    with local.kept(weights.revision, weights.local_files()), memory:
        made = weights.make(workshop)
    with whole_folder(output) as folder:
        made.save(folder)
        if received.files:
            write_json(folder / SOURCES_FILE, received.files)
    received.remember()
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
