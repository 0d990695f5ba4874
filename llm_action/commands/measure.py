"""Commands that measure."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_action.commands.benchmark import add_benchmark
from llm_action.commands.options import add_answer_options, add_command, add_model, check_model, load_pipeline


def add_commands(commands) -> None:
    """Adds them to a parser's subcommands."""
    evaluate = add_command(commands, "evaluate", _evaluate, "measure a model on a protocol's test part")
    add_model(evaluate)
    evaluate.add_argument("--dataset", required=True, help="name of the data set, or a prepared folder")
    evaluate.add_argument("--data", help="folder of the data set, raw or prepared; the synthetic one needs none")
    evaluate.add_argument("--protocol", help="default: the data set's own")
    evaluate.add_argument("--batch-size", type=int, default=16)
    add_answer_options(evaluate)
    evaluate.add_argument(
        "--senses",
        nargs="+",
        metavar="SENSE",
        help="give the model these alone, of recordings that have any of them: skeleton, or a further one; default all",
    )
    evaluate.add_argument(
        "--other-cameras",
        type=int,
        metavar="N",
        help="also measure as other cameras would see it: from any side, tilted by up to 25 degrees, drawn N times",
    )
    evaluate.add_argument("--json", type=Path, metavar="PATH", help="write the metrics here")
    evaluate.add_argument(
        "--record", action="store_true", help="add the result to the model folder: card, record and .eval_results"
    )
    evaluate.add_argument("--confusion", type=Path, metavar="PNG", help="draw the confusion matrix here")
    evaluate.add_argument("--mistakes", type=Path, metavar="PNG", help="draw the most confused classes here")

    tokens = add_command(commands, "evaluate-vqvae", _evaluate_vqvae, "measure the action tokenizer of a run")
    tokens.add_argument("run_folder", type=Path, metavar="RUN", help="run folder of a training")
    tokens.add_argument("--data", help="folder of the data set; the synthetic one needs none")
    tokens.add_argument("--probe-steps", type=int, help="training steps of the probes, 0 for none")
    tokens.add_argument("--json", type=Path, metavar="PATH", help="write the figures here")
    tokens.add_argument("--plot", type=Path, metavar="PNG", help="draw what the language biases did here")

    faithfulness = add_command(
        commands,
        "faithfulness",
        _faithfulness,
        "delete what explanations say matters, measure what answers lose",
    )
    add_model(faithfulness)
    faithfulness.add_argument("--dataset", required=True, help="name of the data set, or a prepared folder")
    faithfulness.add_argument("--data", help="folder of the data set, raw or prepared; the synthetic one needs none")
    faithfulness.add_argument("--protocol", help="default: the data set's own")
    faithfulness.add_argument(
        "--subjects",
        nargs="+",
        type=int,
        default=[],
        help="training subjects that the model has not seen, to choose a method on; default: the test part",
    )
    faithfulness.add_argument("--deleting", default="interpolate", help="hold or interpolate (default)")
    faithfulness.add_argument("--limit", type=int, help="use so many sequences, evenly spread (default all)")
    faithfulness.add_argument("--json", type=Path, metavar="PATH", help="write the figures here")

    curves = add_command(commands, "learning-curves", _learning_curves, "draw the losses of a run")
    curves.add_argument("run_folder", type=Path, metavar="RUN", help="run folder of a training")
    curves.add_argument("picture", type=Path, metavar="PNG", help="picture to write")

    add_command(commands, "ledger", _ledger, "print every evaluation on a test part as a table")
    add_benchmark(commands)


def _evaluate(arguments: argparse.Namespace) -> None:
    import numpy as np

    from llm_action.config.atomic_files import write_json
    from llm_action.evaluation.evaluate import evaluate, having, recognizer_scorer, senses_of, student_scorer
    from llm_action.evaluation.ledger import (
        Origin,
        config_hash,
        ledger_file,
        recognizer_fingerprint,
        weights_fingerprint,
    )
    from llm_action.evaluation.mistakes import find_mistakes
    from llm_action.evaluation.other_cameras import evaluate_elsewhere
    from llm_action.hub.cards import own_metric_first
    from llm_action.hub.model_folder import add_result, describe
    from llm_action.modeling.skeleton_normalization import SkeletonNormalizer
    from llm_action.modeling.student import ActionStudent
    from llm_action.visualization.figures import plot_confusion
    from llm_action.visualization.mistakes import plot_mistakes

    if arguments.fast and arguments.record:
        raise ValueError("--fast: expected no --record, which is of the language model's answers")
    draws = arguments.other_cameras
    if draws is not None and draws < 1:
        raise ValueError(f"--other-cameras: expected 1 draw or more, got {draws}")
    if arguments.record:
        describe(arguments.model)  # an error before the scoring, not after it
    split = _tested_split(arguments.dataset, arguments.data, arguments.protocol)
    normalizer: SkeletonNormalizer
    if arguments.fast:
        check_model(arguments.model)
        student = ActionStudent.from_pretrained(arguments.model)
        score, normalizer = student_scorer(student, split.labels, arguments.views), student.normalizer()
        fingerprint = weights_fingerprint(student.state_dict().items())
        further, arithmetic = list(student.config.senses), "student in float32 on cpu"
    else:
        recognize = load_pipeline(arguments.model, arguments.dtype)
        normalizer = recognize.processor.feature_extractor
        score = recognizer_scorer(recognize, split.labels, arguments.views)
        fingerprint = recognizer_fingerprint(recognize.model, recognize.processor)
        further, arithmetic = list(recognize.processor.senses), recognize.model.arithmetic
    senses = tuple(arguments.senses or senses_of(further))
    split = replace(split, test=having(split.test, senses))
    settings: dict[str, Any] = {"views": arguments.views, **({"senses": senses} if senses else {})}
    settings |= {"fast": True} if arguments.fast else {}
    given = (", fast" if arguments.fast else "") + (f", {' and '.join(senses)}" if senses else "")
    origin = Origin(f"evaluate, views {arguments.views}{given}", config_hash(settings), fingerprint)
    metrics = evaluate(score, split, origin, arguments.batch_size, senses=senses)
    about = {"dataset": split.dataset, "protocol": split.protocol, "model": arguments.model}
    about["arithmetic"] = arithmetic
    metrics = {**about, **metrics, "views": arguments.views}
    if draws is not None:
        elsewhere = evaluate_elsewhere(score, split, origin, draws, arguments.batch_size, senses)
        metrics["top1_from_other_cameras"] = elsewhere
    print(f"entered in the ledger of evaluations on test parts, {ledger_file()}", file=sys.stderr)
    if arguments.json:
        write_json(metrics, arguments.json)
    if arguments.confusion:
        plot_confusion(np.array(metrics["confusion"]), metrics["labels"], arguments.confusion)
    if arguments.mistakes:
        if mistakes := find_mistakes(metrics, split.train, split.test, normalizer):
            plot_mistakes(mistakes, arguments.mistakes)
        else:
            print(f"nothing was confused: {arguments.mistakes} is not drawn", file=sys.stderr)
    if arguments.record:
        add_result(arguments.model, metrics)
        print(f"recorded in {arguments.model}: README.md, training/ and .eval_results/", file=sys.stderr)
    said = {key: title.removesuffix(" accuracy") for key, title in own_metric_first(split.dataset).items()}
    if len(split.labels) <= 5:
        del said["top5"]  # it is 100 % for whatever is answered
    accuracies = ", ".join(f"{title} {metrics[key]:.1%}" for key, title in said.items())
    error, by_chance = metrics["calibration_error"], metrics["calibration_error_by_chance"]
    print(
        f"{split.dataset} {split.protocol}: {accuracies}, calibration error {error:.1%} (by chance {by_chance:.1%}), "
        f"{metrics['n']} sequences in {metrics['seconds']:.0f} s"
    )
    if draws is not None:
        drawn = ", ".join(f"{top1:.1%}" for top1 in elsewhere)
        print(f"from other cameras: top-1 {np.mean(elsewhere):.1%} ({drawn})")


def _tested_split(dataset: str, data: str | None, protocol: str | None):
    """The two parts of a protocol, of an unseen-class protocol the tested classes alone; training may be empty."""
    import numpy as np

    from llm_action.datasets import describe_dataset, open_dataset
    from llm_action.datasets.protocols import protocol_name, protocol_parts
    from llm_action.datasets.split import Split, dataset_name
    from llm_action.datasets.unseen_splits import among_tested

    benchmark = describe_dataset(dataset)
    protocol = protocol_name(benchmark, protocol)
    _, table = open_dataset(dataset, data)
    parts = protocol_parts(table, protocol)
    train, test = (among_tested(table.select(np.flatnonzero(parts == part)), protocol) for part in ("train", "test"))
    labels = test.features["label"].names
    return Split(train, test, labels, protocol, dataset=dataset_name(dataset))


def _faithfulness(arguments: argparse.Namespace) -> None:
    import numpy as np

    from llm_action.config.atomic_files import write_json
    from llm_action.experiments.faithfulness import faithfulness_lines, measure_faithfulness

    split = _tested_split(arguments.dataset, arguments.data, arguments.protocol)
    table = split.test
    if arguments.subjects:
        table = split.train.select(np.flatnonzero(np.isin(split.train["subject"], arguments.subjects)))
    if not len(table):
        raise ValueError(f"expected training subjects, got {arguments.subjects} of which there is no sequence")
    measured = measure_faithfulness(load_pipeline(arguments.model), table, arguments.deleting, limit=arguments.limit)
    print("\n".join(faithfulness_lines(measured)))
    if arguments.json:
        write_json(measured, arguments.json)


def _evaluate_vqvae(arguments: argparse.Namespace) -> None:
    import json

    from llm_action.config.atomic_files import write_json
    from llm_action.config.experiment import load_experiment
    from llm_action.datasets.split import load_split
    from llm_action.evaluation.probe import probe_joints, probe_tokens
    from llm_action.evaluation.token_metrics import token_metrics, word_sample
    from llm_action.hub.base_models import resolve_base_model
    from llm_action.modeling.processing_llm_ar import LlmArProcessor
    from llm_action.visualization.token_figures import plot_tokens

    folder = arguments.run_folder
    record = folder / "experiment.yaml"
    if not record.is_file():
        raise FileNotFoundError(f"{folder}: expected the run folder of a training, {record.name} is missing")
    experiment = load_experiment(record)
    split = load_split(experiment, arguments.data)
    processor = LlmArProcessor.from_pretrained(folder / "processor")
    words = word_sample(resolve_base_model(experiment.base_model), experiment.seed)
    figures = token_metrics(processor, split.test, words)
    written = json.loads((folder / "processor" / "metrics.json").read_text(encoding="utf-8"))
    only_then = ("mmd_before", "training_perplexity", "training_zipf_divergence")
    figures |= {name: written[name] for name in only_then if name in written}
    if arguments.probe_steps != 0:
        probed = (experiment, processor, split, arguments.probe_steps, "evaluate-vqvae")
        figures["probe_tokens"], figures["probe_joints"] = probe_tokens(*probed), probe_joints(*probed)
    if arguments.json:
        write_json(figures, arguments.json)
    for name, value in figures.items():
        if name != "rank_counts":  # one number a code
            print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
    if arguments.plot:
        plot_tokens(figures, arguments.plot)


def _ledger(arguments: argparse.Namespace) -> None:
    from llm_action.evaluation.ledger import read_ledger
    from llm_action.experiments.ledger_table import ledger_table

    print(ledger_table(read_ledger()))


def _learning_curves(arguments: argparse.Namespace) -> None:
    from llm_action.visualization.curves import plot_run

    print(plot_run(arguments.run_folder, arguments.picture))
