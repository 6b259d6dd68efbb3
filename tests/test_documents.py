"""Every Python block of the README and the docs runs, in a folder of its own."""

import importlib.util
import re
from pathlib import Path

import pytest

from unsnarl.errors import FileError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("page", [p for p in PAGES if p.exists() and blocks(p)], ids=lambda p: p.name)
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "example"}  # blocks of a page go on from each other
    for block in blocks(page):
        try:
            exec(compile(block, str(page), "exec"), names)
        except FileError as error:
            if "the weights of zoo/" in str(error):  # of a model that is not shipped yet
                pytest.skip(str(error))
            raise


def test_the_tables_of_systems_are_up_to_date():
    spec = importlib.util.spec_from_file_location("write_tables", ROOT / "docs" / "write_tables.py")
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    for page, links in writer.PAGES.items():
        text = page.read_text(encoding="utf-8")
        assert writer.with_table(text, links) == text, f"{page.name} is out of date: run make tables"
