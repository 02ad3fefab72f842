"""The documentation agrees with the code: generated pages, links, alerts, languages, the project files.

Does not prove that a sentence is true, nor that links to other sites lead anywhere.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
import yaml

from catalog import load_catalog
from docs import pictures, platform_pages, reference, supported
from docs.generate import BLOCK, PLATFORM_PAGES, PRINTED, READMES, renewed
from docs.generate import PAGES as PAGES_WRITTEN
from docs.pictures import PICTURES
from planning import resolve_stack
from settings import validate
from settings.keys import SECRET_KEYS
from settings.schema import GatewaySettings, PoolSettings, StackSettings
from tests.harness import ROOT, VARIANTS, rendered, stack_file, stack_names

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#{1,6}) (.+)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """The page without its code blocks, where # is a comment and brackets are syntax."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors GitHub gives the headings of a page."""
    headings = [title for _, title in HEADING.findall(prose(page))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def declared(project: Path) -> dict:
    """The configuration a Pulumi.yaml declares."""
    return yaml.safe_load(project.read_text(encoding="utf-8"))["config"]


@pytest.mark.parametrize("path", [*PAGES_WRITTEN, *PICTURES], ids=lambda path: path.name)
def test_what_is_generated_whole_is_what_is_there(path: Path):
    """`make docs` would write the same: the reference, what is supported, and the pictures."""
    assert path.read_text(encoding="utf-8") == {**PAGES_WRITTEN, **PICTURES}[path]()


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_drawn_from_itself_alone(path: Path):
    """Well-formed, with text, without anything that a reader's browser would have to load."""
    text = path.read_text(encoding="utf-8")
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(list(root.iter("{http://www.w3.org/2000/svg}text"))) > 10
    loaded = re.findall(r"url\((?!#)[^)]*\)|href=\"(?!#)[^\"]*|<(?:image|script|foreignObject)\b", text)
    assert loaded == []


def test_the_preview_is_pictured_as_it_is_printed():
    """The picture has the words of the block in the README, in their order."""
    words = "".join(ET.fromstring(pictures.preview()).itertext())
    shown = re.sub(r"[\s\xa0]+", "", words).partition("llm-stack·prod")[2]
    printed = re.sub(r"\s+", "", PRINTED["preview"]()).partition("llm-stack·prod")[2]
    assert shown == printed


def test_everything_of_the_catalogue_is_among_what_is_supported():
    """Every checkpoint, GPU, platform, way to get nodes and way in; and the table for the README counts the same."""
    page, catalog = supported.page(), load_catalog()
    ways = [*supported.kinds(PoolSettings, "provisioning"), *supported.kinds(GatewaySettings, "expose")]
    wanted = [*catalog.models, *catalog.gpus, *catalog.images, *catalog.charts, *ways, *catalog.platforms]
    assert [name for name in wanted if f"`{name}`" not in page] == []
    assert f"| models | {len(catalog.models)} checkpoints of " in supported.summary()


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_what_a_readme_says_is_printed_is_what_is_printed(page: Path):
    """`make docs` would leave the page as it is, and every recording we know is on it."""
    text = page.read_text(encoding="utf-8")
    assert sorted(found[2] for found in BLOCK.finditer(text)) == sorted(PRINTED)
    assert text == renewed(text)


@pytest.mark.parametrize("page", PLATFORM_PAGES, ids=lambda page: page.name)
def test_a_page_of_a_platform_has_the_facts_of_the_catalogue(page: Path):
    """`make docs` would leave it as it is: its table and its sources; what you must have and what is untried beside."""
    text = page.read_text(encoding="utf-8")
    assert [found[2] for found in BLOCK.finditer(text)] == [page.stem, f"{page.stem}_sources"]
    assert text == renewed(text)
    titles = ["What is set", "What you must have", "What was never tried", "Sources"]
    assert [title for level, title in HEADING.findall(text) if level == "##"] == titles


def test_every_platform_has_its_page_and_every_page_its_platforms():
    """Each once, and all of them in the list."""
    assert sorted(name for names in platform_pages.PAGES.values() for name in names) == sorted(load_catalog().platforms)
    assert {page.stem for page in platform_pages.FOLDER.glob("*.md")} == set(platform_pages.PAGES)
    rows = [line for line in (ROOT / "docs" / "platforms.md").read_text("utf-8").splitlines() if "](platforms/" in line]
    listed = {
        row.split("](platforms/")[1].split(".md")[0]: tuple(re.findall(r"`(\w+)`", row.split("|")[2])) for row in rows
    }
    assert listed == dict(platform_pages.PAGES)


def test_the_page_of_one_gpu_is_about_the_stack_that_it_names():
    """Secret, entries, model and Service of its commands are those of the example, as its cluster's names are."""
    page, plan = (ROOT / "docs" / "one-gpu.md").read_text(encoding="utf-8"), stack_file("workstation").plan
    entries = sorted(re.findall(r"--from-literal=([\w-]+)=", page))
    assert entries == sorted(["master-key", *(server.name for server in plan.servers)])
    assert re.findall(r'"model": "([^"]+)"', page) == [server.model_name for server in plan.servers]
    assert set(re.findall(r"-n ([\w-]+)", page)) == {plan.namespace}
    assert f"secret generic {plan.gateway.existing_secret}" in page
    assert f"--context {plan.context} " in page
    (checkpoint,) = plan.weights.checkpoints
    assert f"fetches {checkpoint.disk_bytes / 2**30:.1f} GiB" in page


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_every_example_of_a_readme_can_be_deployed(page: Path):
    """The stack file, and the models and sections that others show in its place, are planned without a refusal."""
    whole, *parts = (yaml.safe_load(block) for block in YAML_BLOCK.findall(page.read_text(encoding="utf-8")))
    config = _sections(whole["config"])
    assert len(parts) >= 3
    for part in [{}, *(_sections(part) or {"models": part} for part in parts)]:
        settings, problems = validate({**config, **part})
        assert set(resolve_stack(settings, load_catalog(), problems).pools) == {"a10"}


def _sections(block: dict[str, Any]) -> dict[str, Any]:
    """Those of a stack file; none where a block shows models alone."""
    return {key.removeprefix("llm-stack:"): value for key, value in block.items() if key.startswith("llm-stack:")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_to_something(page: Path):
    """Files exist, and so do the headings that links name."""
    dead = []
    for link in LINK.findall(prose(page)):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = (page.parent / parts.path).resolve() if parts.path else page
        if not target.exists() or (parts.fragment and parts.fragment not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_no_page_names_an_absolute_path_of_a_machine():
    """The documentation is true wherever the project lies."""
    # the folder of GKE's nodes is of no machine of ours
    homes = re.compile(r"(?<![\w.:/])/(?:home(?!/kubernetes/bin)|root|Users)/")
    assert [page.name for page in PAGES if homes.search(page.read_text(encoding="utf-8"))] == []


def test_every_alert_has_its_section_in_the_runbook_and_every_section_its_alert():
    """Whoever is on call lands where the alert sends them."""
    plans = [rendered(name).plan for name in stack_names()]
    for variant in VARIANTS.values():
        settings, problems = validate({key: value for key, value in variant.items() if key not in SECRET_KEYS})
        plans.append(resolve_stack(settings, load_catalog(), problems))
    alerts = {alert.alert for plan in plans for alert in plan.observability.alerts}
    sections = {title for level, title in HEADING.findall(prose(ROOT / "docs" / "runbook.md")) if level == "##"}
    assert sections == alerts


def test_alerts_link_to_the_sections_of_the_runbook():
    """The anchor in `runbook_url` is one the page has."""
    page = anchors(ROOT / "docs" / "runbook.md")
    rules = rendered("prod").objects("PrometheusRule")[0]["spec"]["groups"][0]["rules"]
    assert {rule["annotations"]["runbook_url"].partition("#")[2] for rule in rules} <= page


def test_both_readmes_have_the_same_headings():
    """The translation leaves no section out: as many headings, of the same levels, in the same order."""
    english, chinese = (HEADING.findall(prose(ROOT / name)) for name in ("README.md", "README.zh-CN.md"))
    assert [level for level, _ in english] == [level for level, _ in chinese]


def test_both_readmes_quote_the_same_commands():
    """The code blocks are the same in both languages, comments aside."""
    blocks = [
        [re.sub(r"\s*#.*", "", block) for block in FENCE.findall((ROOT / name).read_text(encoding="utf-8"))]
        for name in ("README.md", "README.zh-CN.md")
    ]
    assert blocks[0] == blocks[1]


# Pages that exist in both languages beside the READMEs: those that the Chinese README links first.
TRANSLATED = ("configuration.md", "multi-node.md", "operations.md", "runbook.md")
# What is the same in every language: inline code, numbers of headings, and whole blocks of code.
CODE = re.compile(r"`[^`\n]+`")


def sections(page: Path) -> list[str]:
    """The page cut at its headings, blocks of code left out."""
    return re.split(r"^#{1,6} .*$", prose(page), flags=re.MULTILINE)


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translated_page_has_the_same_headings(name: str):
    """As many, of the same levels, in the same order; what is a name, an alert or a key, is the same word."""
    english, chinese = (HEADING.findall(prose(ROOT / "docs" / folder / name)) for folder in (".", "zh"))
    assert [level for level, _ in english] == [level for level, _ in chinese]
    named = [title for _, title in english if title.startswith(("`", "LLM"))]
    assert [title for _, title in chinese if title.startswith(("`", "LLM"))] == named


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translated_page_names_the_same_keys_and_commands(name: str):
    """Section by section, the same inline code as often, the same rows in tables, and the same blocks of code."""
    english, chinese = (ROOT / "docs" / folder / name for folder in (".", "zh"))
    differing = []
    for here, there in zip(sections(english), sections(chinese), strict=True):
        left, right = ((Counter(CODE.findall(text)), text.count("\n|")) for text in (here, there))
        if left != right:
            differing.append((left[0] - right[0], right[0] - left[0], left[1], right[1]))
    assert differing == []
    blocks = [FENCE.findall(page.read_text(encoding="utf-8")) for page in (english, chinese)]
    assert blocks[0] == blocks[1]


def test_every_sentence_of_the_reference_is_translated_and_no_other():
    """Who adds or changes a key adds or changes its line in docs/zh/configuration.yaml."""
    wanted, known = reference.sentences(), reference.chinese()
    assert [text for text in wanted if text not in known] == []
    assert [text for text in known if text not in wanted] == []


def test_the_chinese_readme_links_the_chinese_pages():
    """Whoever reads Chinese stays in Chinese where there is a page."""
    links = LINK.findall(prose(ROOT / "README.zh-CN.md"))
    assert [link for link in links if link.partition("#")[0] in [f"docs/{name}" for name in TRANSLATED]] == []


def test_the_project_file_declares_every_key_and_says_what_it_is_for():
    """`Pulumi.yaml` has the settings' top-level keys and the two secrets, no other, each with a description."""
    keys = [field.alias or name for name, field in StackSettings.model_fields.items()]
    found = declared(ROOT / "Pulumi.yaml")
    assert set(found) == {*keys, *SECRET_KEYS}
    assert [key for key, entry in found.items() if not entry.get("description")] == []


def test_the_example_declares_what_the_project_declares():
    """The example runs the same program, so its configuration has the same shape."""
    assert declared(ROOT / "examples" / "minimal" / "Pulumi.yaml") == declared(ROOT / "Pulumi.yaml")


def test_every_decision_is_listed():
    """The list of decisions has every file but the template."""
    folder = ROOT / "docs" / "adr"
    listed = {link for link in LINK.findall((folder / "README.md").read_text(encoding="utf-8")) if link[:4] != "0000"}
    assert listed == {page.name for page in folder.glob("[0-9]*.md")} - {"0000-template.md"}


def test_what_to_touch_for_a_change_is_there():
    """Every file that CONTRIBUTING.md names in its tables exists."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    named = {path for row in rows for path in re.findall(r"`([\w.-]+(?:/[\w.-]+)+/?)`", row)}
    assert {path for path in named if not (ROOT / path).exists()} == set()
    assert len(named) > 40
