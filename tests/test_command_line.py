"""The commands as a user types them: what they print, what they write, how they refuse."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from unsnarl import cli


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    factors = pd.DataFrame({"size": rng.integers(4, size=600), "hue": rng.choice(["red", "green", "blue"], size=600)})
    codes = rng.normal(size=(600, 3))
    codes[:, 1] = factors["size"] + 0.1 * rng.normal(size=600)
    np.save("codes.npy", codes)
    factors.to_csv("factors.csv", index=False)
    return tmp_path


def command(*words, capsys):
    """Exit code, standard output and standard error of one command, run in this process."""
    old, sys.argv = sys.argv, ["unsnarl", *map(str, words)]
    try:
        cli.main()
        code = 0
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = old
    out, err = capsys.readouterr()
    return code, out, err


FAST = ("--only", "sap", "--only", "irs", "--bootstrap", "0")


def test_measure_prints_the_finding_and_writes_report_and_json(folder, capsys):
    code, out, err = command(
        *("measure", "codes.npy", "--factors", "factors.csv", "--to", "report.html", "--json", "scores.json"),
        *FAST,
        capsys=capsys,
    )
    assert (code, err) == (0, "")
    assert "Latent 1 carries size alone" in out
    assert "Latent 1 carries size alone" in (folder / "report.html").read_text()
    assert json.loads((folder / "scores.json").read_text())["n"] == 600


def test_leave_out_and_drop(folder, capsys):
    table = pd.read_csv("factors.csv")
    table.loc[5, "hue"] = None
    table["nothing"] = 1
    table.to_csv("gaps.csv", index=False)
    words = ("measure", "codes.npy", "--factors", "gaps.csv", *FAST)
    code, _, err = command(*words, capsys=capsys)
    assert code == 2
    assert "factor 'hue' has 1 missing value (first at row 5)" in err
    code, _, err = command(*words, "--missing", "drop", capsys=capsys)
    assert code == 2
    assert "factor 'nothing' has the same value in every row" in err
    code, out, _ = command(*words, "--missing", "drop", "--leave-out", "nothing", capsys=capsys)
    assert code == 0
    assert "size" in out


def spoil(folder, what):
    codes = np.load("codes.npy")
    if what == "short":
        np.save("codes.npy", codes[:-1])
    elif what == "nan":
        codes[7, 2] = np.nan
        np.save("codes.npy", codes)
    elif what == "infinite":
        codes[7, 2] = np.inf
        np.save("codes.npy", codes)
    elif what == "object":
        np.save("codes.npy", codes.astype(object), allow_pickle=True)
    elif what == "pickled npz":
        np.savez("codes.npz", z=codes.astype(object))
        return "codes.npz"
    elif what == "empty column":
        table = pd.read_csv("factors.csv")
        table["hue"] = None
        table.to_csv("factors.csv", index=False)
    elif what == "directory":
        (folder / "codes.npy").unlink()
        (folder / "codes.npy").mkdir()
    elif what == "truncated":
        data = (folder / "codes.npy").read_bytes()
        (folder / "codes.npy").write_bytes(data[: len(data) // 2])
    elif what == "missing":
        (folder / "codes.npy").unlink()
    return "codes.npy"


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("short", "codes.npy has 599, factors.csv has 600"),
        ("nan", "NaN at row 7, column 2"),
        ("infinite", "infinite at row 7, column 2"),
        ("object", "codes.npy: it holds pickled Python objects"),
        ("pickled npz", "holds pickled Python objects"),
        ("empty column", "factor 'hue' is empty"),
        ("directory", "codes.npy is a folder"),
        ("truncated", "codes.npy is truncated or damaged"),
        ("missing", "there is no file codes.npy"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(folder, capsys, what, says):
    codes = spoil(folder, what)
    code, out, err = command("measure", codes, "--factors", "factors.csv", "--to", "report.html", *FAST, capsys=capsys)
    assert code == 2
    assert out == ""
    assert err.startswith("unsnarl: ")
    assert err.count("\n") == 1
    assert says in err
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("measure", "codes.npy", "--factors", "factors.csv", "--leave-out", "hu"), "did you mean 'hue'?"),
        (("measure", "codes.npy", "--factors", "factors.csv", "--kind", "hue"), "NAME=VALUE"),
        (("measure", "codes.npy", "--factors", "factors.csv", "--kind", "hue=continuous"), "cannot be continuous"),
        (("measure", "codes.npy", "--factors", "factors.csv", "--only", "sapp"), "did you mean 'sap'?"),
        (("measure", "codes.npy", "--factors", "factors.csv", "--to", "no/report.html"), "does not exist"),
        (("measure", "codes.npy", "--factors", "factors.csv", "--to", "."), "is a directory"),
        (("measure", "codes.npy"), "factors"),
        (("run", "qlea", "--data", "digits"), "did you mean 'qlae'?"),
        (("run", "qlae", "--data", "digitz"), "did you mean 'digits'?"),
        (("run", "qlae", "--data", "digits", "--set", "levls=3"), "did you mean 'levels'"),
        (("show", "qlea"), "did you mean 'qlae'?"),
        (("claim", "qlea"), "did you mean 'qlae'?"),
        (("list", "sistems"), "did you mean 'systems'?"),
        (("report", ".", "--data", "digits"), "holds no saved model"),
        (("nonsense",), "nonsense"),
    ],
)
def test_wrong_words_are_one_sentence_and_exit_2(folder, capsys, words, says):
    code, _, err = command(*words, capsys=capsys)
    assert code == 2
    assert err.startswith("unsnarl: ")
    assert "Traceback" not in err
    assert says in err


def test_run_trains_measures_reports_and_repeats_at_once(folder, capsys):
    words = ("run", "ae", "--data", "wine", "--steps", "60", "--set", "latents=3", "--bootstrap", "0", "--out", "w")
    code, out, _ = command(*words, capsys=capsys)
    assert code == 0
    page = (folder / "w" / "report.html").read_text()
    assert "grower" in page
    assert "Report:" in out
    first = [json.loads(line) for line in (folder / "w" / "metrics.jsonl").read_text().splitlines()]
    assert command(*words, capsys=capsys)[0] == 0
    again = [json.loads(line) for line in (folder / "w" / "metrics.jsonl").read_text().splitlines()]
    assert first == again  # nothing was trained anew


def test_lists_name_everything(capsys):
    code, out, _ = command("list", capsys=capsys)
    assert code == 0
    for name in ("qlae", "active-variables", "shapes3d", "infomec"):
        assert name in out
    code, out, _ = command("show", "qlae", capsys=capsys)
    assert code == 0
    assert "2305.18378" in out


HEAVY = ("torch", "sklearn", "scipy", "pandas", "lightning", "numba", "matplotlib", "huggingface_hub", "transformers")


@pytest.mark.parametrize("words", ["import unsnarl", "--help", "list"])
def test_the_quick_commands_import_nothing_heavy(words):
    if words == "import unsnarl":
        program = "import unsnarl"
    else:
        program = f"import sys; from unsnarl import cli; sys.argv = ['unsnarl', {words!r}]\ntry: cli.main()\nexcept SystemExit: pass"
    program += (
        "\nimport sys; print(); print('modules', len(sys.modules), *sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    words_ = done.stdout.splitlines()[-1].split()
    assert not set(HEAVY) & set(words_[2:])
    assert int(words_[1]) < (300 if words == "import unsnarl" else 900)


def test_a_quick_claim_runs_and_records_nothing(folder, capsys, monkeypatch):
    from unsnarl.claims import qlae

    monkeypatch.setattr(qlae, "STEPS", 200)  # two steps in a quick run
    code, out, _ = command("claim", "qlae", "--seeds", "1", "--quick", "--no-tune", "--records", "docs", capsys=capsys)
    assert code == 0
    assert "modularity: modularity" in out
    assert not (folder / "docs").exists()


def test_the_lists_of_the_command_line_name_what_there_is():
    from unsnarl.measures import measure_names
    from unsnarl.systems import latents

    assert set(cli.MEASURES) == {*measure_names(), "active_variables"}
    learners = {name.lower() for name in latents.__all__} - {"latentlearner", "qlae"}  # QLAE is listed as a system
    assert set(cli.LEARNERS) == learners


def test_epiplexity_ranks_files_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("same.npy", np.zeros(24_000, dtype=np.int64))
    np.save("noise.npy", rng.integers(2, size=24_000))
    words = ("epiplexity", "same.npy", "noise.npy", "--method", "prequential", "--sizes", "1x16", "--context", "32")
    code, out, err = command(*words, "--steps", 60, "--json", "all.json", capsys=capsys)
    assert (code, err.count("Traceback")) == (0, 0)
    assert "noise.npy" in out
    assert "Report: epiplexity.html" in out
    ranking = {row["data"]: row for row in json.loads((tmp_path / "all.json").read_text())["ranking"]}
    assert ranking["noise.npy"]["H"] > 0.9
    assert ranking["same.npy"]["H"] < 0.1
    assert (
        "<svg" in (tmp_path / "epiplexity.html").read_text()
        or "data:image" in (tmp_path / "epiplexity.html").read_text()
    )
    assert command(*words, "--steps", 60, capsys=capsys)[1].splitlines()[0] == out.splitlines()[0]
    for bad, complaint in (("2by64", "LAYERSxWIDTH"), ("0x16", "LAYERSxWIDTH")):
        code, _, err = command("epiplexity", "same.npy", "--sizes", bad, capsys=capsys)
        assert code == 2
        assert complaint in err
    code, _, err = command("epiplexity", "absent.txt", capsys=capsys)
    assert code == 2
    assert err.count("\n") == 1
    assert "absent.txt" in err


def test_inspect_refuses_before_it_loads_anything(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("One document.\n\nAnother document.\n")
    for words, complaint in (
        (("absent/folder/model", "--texts", "notes.txt"), "absent/folder/model does not exist"),
        (("smollm2", "--texts", "absent.txt"), "absent.txt"),
        (("smollm2", "--texts", "notes.txt", "--to", "no/such/folder.html"), "no/such"),
    ):
        code, _, err = command("inspect", *words, capsys=capsys)
        assert code == 2
        assert complaint in err
        assert err.count("\n") == 1


def test_inspect_writes_the_report_of_a_model_in_a_folder(tmp_path, monkeypatch, capsys):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    monkeypatch.chdir(tmp_path)
    words = [chr(97 + i) for i in range(20)]
    plain = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate([*words, "?"])}, unk_token="?")
    )
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="?").save_pretrained("model")
    config = transformers.LlamaConfig(
        vocab_size=21,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    transformers.LlamaForCausalLM(config).save_pretrained("model")
    rng = np.random.default_rng(0)
    (tmp_path / "notes.txt").write_text("\n\n".join(" ".join(rng.choice(words, 40)) for _ in range(30)))
    code, out, err = command(
        *("inspect", "./model", "--texts", "notes.txt", "--contexts", 300, "--no-surplus", "--json", "all.json"),
        capsys=capsys,
    )
    assert code == 0, err
    assert "equally likely" in out
    assert "Report: inspect.html" in out
    assert json.loads((tmp_path / "all.json").read_text())["numbers"]["features"]["value"] > 1
    assert "Features in the head" in (tmp_path / "inspect.html").read_text()


SMALL = ("--data", "simulated", "--data-option", "n=60", "--data-option", "patches=[8, 12]")


def test_a_survival_learner_is_cross_validated_and_reported(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sksurv")
    monkeypatch.chdir(tmp_path)
    words = ("run", "pibd", *SMALL, "--set", "z_dim=8", "--set", "epochs=1", "--set", "samples=2")
    code, out, err = command(*words, capsys=capsys)
    assert (code, err.count("Traceback")) == (0, 0)
    assert "Report: runs/pibd-simulated/report.html" in out
    page = (tmp_path / "runs/pibd-simulated/report.html").read_text()
    assert "ridge Cox" in page
    assert "unsnarl run pibd" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "pibd", "--data", "brest-cancer"), "breast_cancer"),
        (("run", "pibd", *SMALL, "--steps", "5"), "epochs"),
        (("run", "pibd", *SMALL, "--set", "widht=5"), "hyperparameter"),
        (("run", "pipd", *SMALL), "pibd"),
        (("data", "trysent"), "trisent"),
        (("data", "trisent", "--mode", "both"), "redundant"),
        (("data", "trisent", "--size", "0"), "size"),
    ],
)
def test_bad_words_get_one_sentence(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSNARL_CACHE", str(tmp_path))
    code, _, err = command(*words, capsys=capsys)
    assert code == 2
    assert err.startswith("unsnarl: ")
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.iterdir())


def test_the_zoo_is_trained_listed_shown_and_checked(tmp_path, monkeypatch, capsys):
    pytest.importorskip("diffusers")
    monkeypatch.chdir(tmp_path)
    code, out, _ = command("zoo", "train", "zoo/oracle", "--steps", "1", "--to", "mine/oracle", capsys=capsys)
    assert code == 0
    assert (tmp_path / "mine/oracle/model/README.md").is_file()
    code, out, _ = command("zoo", "list", "--trained", "mine", capsys=capsys)
    assert code == 0
    assert any(line.startswith("oracle") and "MiB" in line for line in out.splitlines())
    code, out, _ = command("zoo", "check", "oracle", "--trained", "mine", "--share", "0.02", "--record", capsys=capsys)
    assert code == 1
    assert "factors read rightly on renders" in out
    assert "NOT MET" in out
    code, out, _ = command("zoo", "show", "oracle", "--trained", "mine", capsys=capsys)
    assert code == 0
    assert "| factors read rightly on renders |" in out
    code, _, err = command("zoo", "show", "orcale", capsys=capsys)
    assert code == 2
    assert "oracle" in err
    assert err.count("\n") == 1
