"""The commands about several modalities as a user types them."""

import sys

import pytest

from unsnarl import cli


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
