import re
from pathlib import Path

from unsnarl.claims import read_record


def test_the_page_runs_as_it_stands(module, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "claims.md").read_text()
    define, use = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    lasso = module(define, "lasso_claim")
    monkeypatch.chdir(tmp_path)
    exec(use, {"claim": lasso.claim})
    record = read_record("docs/claims/lasso.json")
    assert record["verdict"] == "holds"
    assert [row["role"] for row in record["rows"]] == ["central", "guard", "extra", "ablation"]
    assert record["tuning"][0]["trials"] == record["tuning"][1]["trials"] == 8
