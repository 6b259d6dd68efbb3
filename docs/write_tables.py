"""Write the system table, made from the catalogue and the claims' records, into the pages that show it.

Run after a claim was recorded or a system was added: `make tables`. A test fails when a page is out of date.
"""

from pathlib import Path

from unsnarl.catalog import markdown_table

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- systems -->", "<!-- /systems -->"
PAGES = {ROOT / "README.md": "docs/claims/", ROOT / "docs" / "systems.md": "claims/"}


def with_table(text: str, links: str) -> str:
    """The text of a page with the table between its two marks."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{markdown_table(ROOT / 'docs' / 'claims', links=links).strip()}\n{END}{after}"


if __name__ == "__main__":
    for page, links in PAGES.items():
        page.write_text(with_table(page.read_text(encoding="utf-8"), links), encoding="utf-8")
