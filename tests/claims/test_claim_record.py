import copy
import json
import math

import pytest

from unsnarl.claims import check_record, paired_interval, read_record, write_record
from unsnarl.claims._record import machine, versions
from unsnarl.errors import DataError, FileError


def good():
    gains = [0.3, 0.2, 0.25]
    estimate = paired_interval(gains)
    return {
        "slug": "tiny",
        "title": "t",
        "statement": "s",
        "verdict": "holds",
        "rows": [
            {
                "name": "r",
                "metric": "m",
                "higher_is_better": True,
                "seeds": [0, 1, 2],
                "system": gains,
                "baseline": [0.0, 0.0, 0.0],
                "minimum_effect": 0.1,
                "difference": estimate._asdict(),
                "verdict": "holds",
            }
        ],
        "tuning": [],
        "settings": {},
        "machine": machine(),
        "versions": versions(),
        "date": "2025-01-31",
        "seconds": 1.0,
        "notes": "",
    }


def test_good_record_passes(tmp_path):
    check_record(good())
    assert read_record(write_record(good(), tmp_path / "new" / "folder")) == good()
    assert versions()["unsnarl"]


def change(path, value):
    record = copy.deepcopy(good())
    *parents, last = path
    inner = record
    for part in parents:
        inner = inner[part]
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    return record


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["machine"], KeyError, "lacks 'machine'"),
        (["rows", 0, "seeds"], KeyError, "lacks 'seeds'"),
        (["rows"], [], "no rows"),
        (["rows", 0, "seeds"], [0, 1], "2 seeds, 3 numbers"),
        (["rows", 0, "seeds"], [0, 1, 1], "different"),
        (["rows", 0, "seeds"], [0, 1, 2.5], "integers"),
        (["rows", 0, "system", 0], math.nan, "holds nan"),
        (["rows", 0, "system", 0], "0.3", "numbers or null"),
        (["rows", 0, "system", 0], 0.9, "mean difference"),
        (["rows", 0, "verdict"], "inconclusive", "is called 'inconclusive'"),
        (["rows", 0, "minimum_effect"], 0.24, "is called 'holds'"),
        (["rows", 0, "minimum_effect"], True, "minimum_effect=True"),
        (["rows", 0, "difference", "low"], 0.26, "does not enclose"),
        (["rows", 0, "difference", "low"], None, "does not enclose"),
        (["rows", 0, "higher_is_better"], False, "mean difference"),
        (["rows", 0, "role"], "extra", "no row is central"),
        (["verdict"], "does not hold", "its rows and gates say 'holds'"),
        (["settings"], {"a": object()}, "not a plain value"),
        (["settings"], {1: 2}, "not a string"),
        (["seconds"], math.inf, "holds inf"),
    ],
)
def test_a_wrong_record_is_not_written(path, value, message, tmp_path):
    with pytest.raises(DataError, match=message):
        write_record(change(path, value), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"slug": "tiny"}', "\x00\xff", json.dumps(change(["verdict"], "does not hold"))],
)
def test_damage_is_one_sentence(text, tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(FileError) as caught:
        read_record(path)
    assert "tiny.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nan_in_a_file_is_refused(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(good()).replace("0.25", "NaN"))
    with pytest.raises(FileError, match="NaN is not allowed"):
        read_record(path)
    with pytest.raises(FileError, match="no file"):
        read_record(tmp_path / "absent.json")


def test_edited_verdict_is_noticed(tmp_path):
    path = write_record(good(), tmp_path)
    path.write_text(path.read_text().replace('"minimum_effect": 0.1', '"minimum_effect": 0.2'))
    with pytest.raises(FileError, match="not what its numbers say"):
        read_record(path)


def test_machine_tells_no_name():
    import platform

    told = json.dumps(machine())
    assert platform.node() not in told or not platform.node()
    assert machine()["cores"] >= 1
