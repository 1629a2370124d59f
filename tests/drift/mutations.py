"""Do the golden numbers notice? `python -m tests.drift.mutations` changes one thing at a time.

Each change is made in a copy of the code; the case beside it must then fail and name a revision. It
takes a few minutes (a word after it chooses the paths it stands in, `features` for one) and exits
with 1 where one goes unseen. `test_guards.py` watches that each
`old` text still stands in its file, so that the list does not rot.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Mutation(NamedTuple):
    path: str  # under lmm4rec/
    old: str
    new: str
    kind: str
    case: str


_TUNING, _JOINT, _TINY = ("finetuning", "clip"), ("end2end", "vlmo"), ("pretraining", "beit3")
_LOOP, _E2E = "encoders/tuning/tuning.py", "end2end/training.py"
_VLMO, _TRAINABLE = "encoders/unified/vlmo.py", "encoders/tuning/trainable.py"
_OBJECTIVES, _TEXTS = "encoders/objectives.py", "encoders/picture_texts.py"
_WORLD, _PICTURES = "catalogue/sources/demo_world.py", "catalogue/sources/demo_pictures.py"

MUTATIONS = [
    # the optimizers
    Mutation(_LOOP, "ADAM_BETAS = (0.9, 0.98)", "ADAM_BETAS = (0.9, 0.99)", *_TUNING),
    Mutation(_LOOP, "ADAM_BETAS = (0.9, 0.98)", "ADAM_BETAS = (0.95, 0.98)", *_JOINT),
    Mutation(_LOOP, "ADAM_BETAS = (0.9, 0.98)", "ADAM_BETAS = (0.9, 0.99)", *_TINY),
    Mutation(_LOOP, "ADAM_EPS = 1e-6", "ADAM_EPS = 1e-8", *_TUNING),
    Mutation("adam.py", "BETAS = (0.9, 0.999)", "BETAS = (0.9, 0.99)", *_JOINT),
    Mutation("adam.py", 'weight_decay=group["weight_decay"]', "weight_decay=0.0", *_TUNING),
    # the loop of fine-tuning
    Mutation(_LOOP, "shuffled = order.permutation(rows)", "shuffled = rows", *_TUNING),
    Mutation(_LOOP, "return (step + 1) / warmup", "return step / warmup", *_TUNING),
    Mutation(_LOOP, "return (1 + math.cos(", "return 2 - (1 + math.cos(", *_TUNING),
    Mutation(_LOOP, "(trained, self.config.gradient_norm)", "(trained, 9.9)", *_TUNING),
    Mutation(_LOOP, "if self.config.augment else None", "if False else None", *_TUNING),
    Mutation(_LOOP, "np.sort(shuffled[n_held_out:])", "np.sort(shuffled)", *_TUNING),
    Mutation(_LOOP, "self.encoder.load_state_dict(best)", "pass", "finetuning", "unimodal"),
    Mutation("encoders/tuning/tuning_curve.py", "losses.index(min(", "losses.index(max(", *_TUNING),
    Mutation(_LOOP, "self.encoder.train()", "self.encoder.eval()", "finetuning", "unimodal"),
    Mutation("encoders/tuning/retrieval.py", "(rows > own)", "(rows >= own)", *_TUNING),
    Mutation("encoders/tuning/pair_batches.py", "own_part(rows)", "own_part(rows[::-1])",
             "finetuning", "vlmo"),
    Mutation(_TRAINABLE, "(deepest - depths[name])", "(depths[name])", *_TUNING),
    Mutation(_TRAINABLE, "parameter.ndim > 1 and not", "not", *_TUNING),
    Mutation(_TRAINABLE, ">= heads - tune.blocks", "> heads - tune.blocks",
             "finetuning", "unimodal-last-blocks"),
    Mutation(_TRAINABLE, "lora_alpha=tune.alpha", "lora_alpha=tune.rank",
             "finetuning", "vlmo-lora"),
    # objectives
    Mutation(_VLMO, "MLM_WEIGHT = 0.25", "MLM_WEIGHT = 0.3", "finetuning", "vlmo"),
    Mutation(_VLMO, "contrastive_loss(vl)) / 2, plain", "contrastive_loss(plain)) / 2, plain",
             "finetuning", "vlmo"),
    Mutation(_VLMO, "labels[: len(images)] = 1", "labels[: len(images) + 1] = 1",
             "finetuning", "vlmo"),
    Mutation(_OBJECTIVES, "clamp(min=0.15)", "clamp(min=0.2)", "pretraining", "vlmo"),
    Mutation(_OBJECTIVES, "others.T.softmax(1)", "others.softmax(1)", "finetuning", "vlmo"),
    Mutation(_OBJECTIVES, "(image_to_text + text_to_image) / 2", "image_to_text", *_TUNING),
    Mutation("encoders/clip/clip.py", "math.log(100)", "math.log(10)", *_TUNING),
    Mutation("encoders/unimodal/pretraining.py", "TEXT_SCALE = 20.0", "TEXT_SCALE = 19.0",
             "pretraining", "unimodal"),
    Mutation("encoders/unimodal/unimodal.py", "log(1 / 0.07)", "log(1 / 0.1)",
             "pretraining", "unimodal"),
    # tiny encoders
    Mutation("encoders/initialisation.py", "PLACE_DEVIATION = 0.5", "PLACE_DEVIATION = 0.4",
             "pretraining", "clip"),
    Mutation("encoders/unified/vlmo.py", "TINY_VOCABULARY = 1000", "TINY_VOCABULARY = 90",
             "pretraining", "vlmo"),
    Mutation(_WORLD, "a photo of a {thing}", "a picture of a {thing}", "captions", "web"),
    Mutation(_PICTURES, "rng.integers(-18, 19, 3)", "rng.integers(-18, 18, 3)", "captions", "web"),
    Mutation(_PICTURES, "(32, PIXELS, PIXELS, 3)", "(31, PIXELS, PIXELS, 3)", "catalogue", "demo"),
    Mutation("catalogue/sources/demo.py", "extra = source.interactions_per_user - _CORE",
             "extra = source.interactions_per_user", "catalogue", "demo"),
    # joint training
    Mutation(_E2E, "self._encoder_steps / max(warmup, 1)", "1.0", *_JOINT),
    Mutation(_E2E, "(trained, self._task.encoder_config.gradient_norm)", "(trained, 9.9)", *_JOINT),
    Mutation(_E2E, "number <= self._config.freeze_epochs", "number < self._config.freeze_epochs",
             *_JOINT),
    Mutation(_E2E, "done % every == 0", "done % every == 1", *_JOINT),
    Mutation(_E2E, 'encoder.load_state_dict(best["encoder"])', "pass", "end2end", "unimodal-lora"),
    Mutation(_E2E, "begin_epoch(self._model, self._model_optimizer, self._task.seed, number)",
             "begin_epoch(self._model, self._model_optimizer, 0, 3)", "end2end", "vlmo-mmgcl"),
    Mutation("end2end/step.py", "self._weight * self._alignment(live)", "self._alignment(live)",
             *_JOINT),
    Mutation("end2end/step.py", "self._encoder.send_back(parts, own)", "pass", *_JOINT),
    Mutation("end2end/live.py", "arriving.append(gradient[", "arriving.append(2 * gradient[",
             *_JOINT),
    Mutation("training/sampling.py", "0x6E656761", "0x6E656762", *_JOINT),
    Mutation("training/sampling.py", "np.random.default_rng([self._seed, number]).permutation",
             "np.random.default_rng([self._seed]).permutation", *_JOINT),
    Mutation("training/model_selection.py", "if recall <= self.best_recall",
             "if recall < self.best_recall - 1", "end2end", "unimodal-lora"),
    Mutation("training/model_selection.py", "max(self.best_epoch, counted_from)",
             "max(self.best_epoch, counted_from) + 1", "end2end", "unimodal-lora"),
    # extraction
    Mutation(_TEXTS, "if text.strip()]", "if text]", "extraction", "vlmo"),
    Mutation(_TEXTS, "self.pixels[has_text], tokens, self.picture_rows[has_text]",
             "self.pixels[has_text].flip(0), tokens, self.picture_rows[has_text]",
             "extraction", "vlmo"),
    Mutation("encoders/pictures.py", "Image.Resampling.BICUBIC)\n        return",
             "Image.Resampling.BILINEAR)\n        return", "extraction", "beit3"),
    Mutation("encoders/pictures.py", ".div_(255).sub_(0.5)", ".div_(256).sub_(0.5)",
             "extraction", "vlmo"),
    Mutation("encoders/unimodal/transformers_texts.py", "(hidden * weights)", "hidden",
             "extraction", "unimodal"),
    Mutation("encoders/clip/clip.py", "encode_image(pixels).float(), dim=-1",
             "encode_image(pixels).float(), p=1", "extraction", "clip"),
    Mutation("features/extraction.py", "shard[name][first + rows.numpy()]",
             "shard[name][first + rows.numpy()[::-1].copy()]", "extraction", "clip"),
    Mutation("features/items.py", 'text or ""', '(text or "")[:30]', "extraction", "beit3"),
    # published files
    Mutation("encoders/unified/positions.py", 'mode="bicubic"', 'mode="bilinear"',
             "conversion", "vlmo"),
    Mutation("encoders/files/checkpoints.py", "value.float() if", "value.float() * 1.001 if",
             "conversion", "beit3"),
    Mutation("encoders/unimodal/checkpoints.py", "preprocessing=preprocessing_of(network)",
             "preprocessing=preprocessing_of(network).model_copy(update={'crop_pct': 1.0})",
             "conversion", "unimodal"),
    Mutation("encoders/clip/checkpoints.py", 'merged["size"] = ',
             'merged["resize_mode"] = "squash"; _ = ', "conversion", "open_clip"),
    # catalogues as they come, and how they are read from then on
    Mutation("catalogue/sources/fetched.py", ".rename(folder / FILES / name)",
             ".rename(folder / FILES / role)", "catalogue", "fetched"),
    Mutation("catalogue/sources/folder_source.py", "names += [name for table in tables if",
             "names += [name for table in tables[1:] if", "catalogue", "folder"),
    Mutation("catalogue/sources/tables_found.py", "best = min(ranks.values())",
             "best = max(ranks.values())", "catalogue", "folder"),
    Mutation("catalogue/readers/recognition.py", 'return "cp1252"', 'return "utf-8"',
             "catalogue", "formats"),
    Mutation("catalogue/sources/roles.yaml", "bestelltam, ", "", "catalogue", "formats"),
    Mutation("catalogue/sources/presets.yaml", "brand: store, categories", "categories",
             "catalogue", "formats"),
    Mutation("catalogue/pictures/containers.py", "label + path.relative_to(folder).as_posix()",
             "label + path.relative_to(folder).as_posix()[1:]", "catalogue", "folder"),
]  # fmt: skip


def main() -> None:
    # The heavy libraries once, before the forks; nothing of the code itself.
    import numba  # noqa: F401
    import open_clip  # noqa: F401
    import peft  # noqa: F401
    import timm  # noqa: F401
    import transformers  # noqa: F401

    sys.dont_write_bytecode = True  # a file changed twice in a second would be read from it
    chosen = [one for one in MUTATIONS if any(map(one.path.__contains__, sys.argv[1:] or [""]))]
    unseen = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for room in ("lmm4rec", "stages"):
            shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(ROOT / "dvc.yaml", copy / "dvc.yaml")  # names the code in resume keys
        for mutation in chosen:
            path = copy / "lmm4rec" / mutation.path
            text = path.read_text()
            path.write_text(text.replace(mutation.old, mutation.new))
            said = _said(copy, mutation)
            path.write_text(text)
            unseen += "raise " not in said
            print(f"{'seen' if 'raise ' in said else 'UNSEEN':6} {mutation.path}: "
                  f"{mutation.old!r} -> {mutation.new!r} | {said[:300]}", flush=True)  # fmt: skip
    print(f"{len(chosen) - unseen} of {len(chosen)} seen")
    sys.exit(unseen > 0)


def _said(copy: Path, mutation: Mutation) -> str:
    """What the guard says of the copy's code, in a process of its own; empty: it passed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        sys.path.insert(0, str(copy))
        said = ""
        try:
            from tests.drift.test_drift import check

            check(mutation.kind, mutation.case)
        except AssertionError as error:
            said = str(error)
        except BaseException as error:  # it runs no more: other tests say so
            said = f"broken: {error!r}"
        os.write(writing, said.encode()[:4000])
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as stream:
        return " ".join(stream.read().decode(errors="replace").split())


if __name__ == "__main__":
    main()
