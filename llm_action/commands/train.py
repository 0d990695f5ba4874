"""Commands from raw recordings to a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path

from llm_action.commands.options import add_command, add_model, add_reading_options, check_model, reading_options
from llm_action.config.arguments import add_training_arguments


def add_commands(commands) -> None:
    """Adds them to a parser's subcommands."""
    prepare = add_command(commands, "prepare", _prepare, "read, clean and write a data set as an Arrow table")
    prepare.add_argument(
        "dataset", help="ntu60, ntu120, smarthome, uav-human, utd-mhad, nw-ucla, msr-action3d or folder"
    )
    prepare.add_argument("--source", required=True, help="folder of the unpacked release, or of your own data")
    prepare.add_argument("--out", required=True, help="folder to write")
    prepare.add_argument(
        "--csv",
        help="folder: CSV with the columns path, label and if wanted start, end (seconds), subject, camera, split",
    )
    add_reading_options(prepare)
    prepare.add_argument("--fps", type=float, help="frames per second of files that do not state theirs")
    prepare.add_argument(
        "--missing-list", nargs="+", default=[], metavar="FILE", help="official lists of samples without skeletons"
    )
    prepare.add_argument("--max-persons", type=int, default=2, help="persons to keep (default 2)")
    prepare.add_argument("--workers", type=int, help="processes (default: one for each core)")
    prepare.add_argument("--restart", action="store_true", help="begin anew, and replace what --out holds")
    machines = prepare.add_mutually_exclusive_group()
    machines.add_argument("--shard", metavar="K/N", help="write the K-th of N shards only, one on each of N machines")
    machines.add_argument("--merge", action="store_true", help="join the shards into the table that one machine writes")

    train = add_command(commands, "train", _train, "train both stages, or one, and export the model")
    add_training_arguments(train)

    distill = add_command(commands, "distill", _distill, "add a student to a model, which answers in milliseconds")
    add_model(distill, "model folder that llm-action train wrote")
    distill.add_argument("--data", help="folder of the data set it was trained on; the synthetic one needs none")
    distill.add_argument("--steps", type=int, default=3000, help="training steps of the student (default 3000)")

    calibrate = add_command(
        commands,
        "calibrate",
        _calibrate,
        "fit how sure a model is, on recordings that a training left out",
    )
    add_model(calibrate, "model folder, which gets the temperatures")
    calibrate.add_argument(
        "run_folder", metavar="RUN", help="run folder of the same training with holdout_subjects or holdout_cameras"
    )
    calibrate.add_argument("--data", help="folder of the data set; the synthetic one needs none")

    adapt = add_command(commands, "adapt", _adapt, "teach a model new classes from a few examples")
    add_model(adapt, "model folder")
    adapt.add_argument("--examples", required=True, help="folder with a folder of recordings for each class")
    adapt.add_argument("--out", type=Path, required=True, help="model folder to write")
    adapt.add_argument("--rehearse", help="recordings of old classes, for a model without rehearsal files")
    add_reading_options(adapt)
    adapt.add_argument(
        "--steps",
        type=int,
        default=150,
        help="training steps, taken with ten examples of each class or more (default 150)",
    )
    adapt.add_argument("--learning-rate", type=float, default=5e-4, help="default 5e-4")

    plan = add_command(commands, "plan", _plan, "say whether a training fits into memory; no weights are loaded")
    plan.add_argument("--config", required=True, help="YAML file, prepared folder or preset")
    plan.add_argument("--gpus", type=int, default=1, help="devices (default 1)")
    plan.add_argument("--memory", type=float, required=True, metavar="GB", help="memory of one device, 10^9 bytes")
    plan.add_argument("--strategy", choices=("ddp", "fsdp", "zero3"), help="default: the simplest that fits")
    plan.add_argument("--data", help="prepared folder, for the exact number of tokens")
    plan.add_argument(
        "--set", nargs="*", action="extend", default=[], metavar="FIELD=VALUE", help="override fields of the config"
    )
    plan.add_argument("--json", type=Path, metavar="PATH", help="write the figures here")

    demo = add_command(commands, "demo", _demo, "train, evaluate, export and recognise on made-up skeletons")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="default runs/demo")
    demo.add_argument("--restart", action="store_true", help="begin anew")

    base = add_command(commands, "base-model", _base_model, "fetch a base model if need be and print its folder")
    base.add_argument("name", nargs="?", help="folder, .gguf file or Hub id; default SmolLM2-135M-Instruct")


def _prepare(arguments: argparse.Namespace) -> None:
    from llm_action.datasets import BENCHMARKS
    from llm_action.datasets.cleaning import Cleaning
    from llm_action.datasets.folder import scan_folder
    from llm_action.datasets.job import read_missing_list
    from llm_action.datasets.prepare import prepare
    from llm_action.datasets.prepared import prepared_summary
    from llm_action.datasets.shards import Shard, merge_shards, prepare_shard

    name = arguments.dataset.replace("-", "_")
    if name == "folder":
        benchmark, scan = scan_folder(arguments.source, arguments.csv, arguments.layout, **reading_options(arguments))
    elif name in BENCHMARKS and (scan_files := BENCHMARKS[name].scan) is not None:
        benchmark, scan = BENCHMARKS[name], scan_files(arguments.source)
    else:
        known = ", ".join(known for known in BENCHMARKS if BENCHMARKS[known].scan is not None)
        raise ValueError(f"{arguments.dataset}: expected one of {known}, or folder")
    cleaning = Cleaning(arguments.max_persons, arguments.layout, arguments.fps, reading_options(arguments))
    missing = [name for file in arguments.missing_list for name in read_missing_list(file)]
    settings = {"cleaning": cleaning, "missing": missing, "restart": arguments.restart}
    if arguments.shard:
        shard = Shard.parse(arguments.shard)
        folder = prepare_shard(benchmark, scan, arguments.out, shard, workers=arguments.workers, **settings)
        print(f"{folder}: shard {shard} is written; the same command with --merge joins them when all are")
        return
    if arguments.merge:
        manifest = merge_shards(benchmark, scan, arguments.out, **settings)
    else:
        manifest = prepare(benchmark, scan, arguments.out, workers=arguments.workers, **settings)
    print(prepared_summary(manifest, benchmark, arguments.out))


def _train(arguments: argparse.Namespace) -> None:
    from llm_action.training.report import REPORT_FILE
    from llm_action.training.train import train_as_asked

    out = train_as_asked(arguments)
    model, report = out / "model", out / REPORT_FILE
    print(f"written to {out}" + (f": the model is {model}, a report is {report}" if report.is_file() else ""))


def _calibrate(arguments: argparse.Namespace) -> None:
    from llm_action.training.calibrate import calibrate

    found = calibrate(arguments.model, arguments.run_folder, arguments.data)
    print(f"{arguments.model}: temperature {found.temperature:.2f}, fitted on {found.sequences} left-out recordings")
    for sense, weight in (found.sense_weights or {}).items():
        print(f"{sense}: weight {weight:.2f} beside the skeleton's 1")
    if found.share is not None:
        print(f"student: temperature {found.student_temperature:.2f}, share {found.share:.2f} of the mean of both")


def _distill(arguments: argparse.Namespace) -> None:
    from llm_action.training.distill import Distillation, distill

    distill(arguments.model, arguments.data, Distillation(steps=arguments.steps))
    print(f"{arguments.model}: has a student now; recognize --fast asks it")


def _adapt(arguments: argparse.Namespace) -> None:
    from llm_action.training.adapt import Adaptation, adapt

    check_model(arguments.model)
    adaptation = Adaptation(steps=arguments.steps, learning_rate=arguments.learning_rate)
    source, examples, said = arguments.model, arguments.examples, reading_options(arguments)
    labels = adapt(source, examples, arguments.out, arguments.rehearse, arguments.layout, adaptation, **said)
    print(f"{arguments.out}: knows {len(labels)} classes: {', '.join(labels)}")


def _plan(arguments: argparse.Namespace) -> None:
    from llm_action.config.atomic_files import write_json
    from llm_action.config.experiment import load_experiment
    from llm_action.training.plan import plan_table, plan_training

    experiment = load_experiment(arguments.config, arguments.set)
    plan = plan_training(experiment, arguments.gpus, arguments.memory, arguments.strategy, arguments.data)
    print(plan_table(plan))
    if arguments.json:
        write_json(plan, arguments.json)


def _demo(arguments: argparse.Namespace) -> None:
    from llm_action.demo import run_demo

    run_demo(arguments.out, resume=not arguments.restart)


def _base_model(arguments: argparse.Namespace) -> None:
    from llm_action.hub.base_models import resolve_base_model

    print(resolve_base_model(arguments.name))
