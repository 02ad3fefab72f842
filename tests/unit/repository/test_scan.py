"""The table of exceptions in docs/security.md, and what `make scan` makes of it.

The scanners themselves are run by `make scan`, not here.
"""

import pytest

from tests.scan.exceptions import HEADING, PAGE, Allowed, Finding, judge, table

POD = Finding("checkov", "CKV_1", "Deployment", "vllm-a", "prod")
JOB = Finding("checkov", "CKV_1", "Job", "fetch", "prod")
ROW = Allowed("checkov", "CKV_1", ("Deployment/vllm-*",), "because")
PAGE_OF_ONE = f"""# Security

{HEADING}

Words.

| scanner | check | objects | why it is so |
|---|---|---|---|
| checkov | `CKV_1` | `Deployment/vllm-*`, `Job/*` | because |

## Next

| not | this |
"""


def test_the_table_is_read():
    """Each row is a scanner, a check, patterns of objects, and a reason; other tables of the page are not meant."""
    assert table(PAGE_OF_ONE) == (Allowed("checkov", "CKV_1", ("Deployment/vllm-*", "Job/*"), "because"),)


@pytest.mark.parametrize(
    "text",
    [
        "# Security\n",
        PAGE_OF_ONE.replace("| why it is so |", "| note |"),
        PAGE_OF_ONE.replace("| because |", "|  |"),
        PAGE_OF_ONE.replace("| because |", "|"),
    ],
)
def test_a_table_that_is_none(text):
    """A page without the table, another head, and a row without its reason are errors."""
    with pytest.raises(ValueError, match=r"no table|a row needs"):
        table(text)


@pytest.mark.parametrize(
    ("findings", "rows", "ran", "expected"),
    [
        ([POD, POD], [ROW], ["checkov"], []),
        ([POD, JOB], [ROW], ["checkov"], ["not allowed: checkov CKV_1: Job fetch of prod"]),
        (
            [Finding("checkov", "CKV_2", "Deployment", "vllm-a", "prod"), POD],
            [ROW],
            ["checkov"],
            ["not allowed: checkov CKV_2: Deployment vllm-a of prod"],
        ),
        ([], [ROW], ["checkov"], ["no longer found, take it out of the table: checkov CKV_1: Deployment/vllm-*"]),
        (
            [POD],
            [Allowed("checkov", "CKV_1", ("Deployment/*", "Job/*"), "because")],
            ["checkov"],
            ["no longer found, take it out of the table: checkov CKV_1: Job/*"],
        ),
        ([], [ROW], ["kube-score"], []),
    ],
)
def test_findings_and_rows_belong_together(findings, rows, ran, expected):
    """What no row covers is wrong, and so is a row without a finding, unless its scanner did not run."""
    assert judge(findings, rows, ran) == expected


def test_the_page_has_its_table():
    """Every exception of the real page has its reason, and none is there twice."""
    rows = table(PAGE.read_text(encoding="utf-8"))
    assert {row.scanner for row in rows} == {"checkov", "kube-score"}
    assert len({(row.scanner, row.check) for row in rows}) == len(rows)
