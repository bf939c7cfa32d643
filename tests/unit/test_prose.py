"""The linter of our English finds the turns that it knows, where they stand, and nothing in code."""

from pathlib import Path

import pytest

from support import prose


@pytest.mark.parametrize(
    ("sentence", "better"),
    [
        ("Whoever logs in gets a token.", "anyone who"),
        ("The client is told what to send.", "X tells Y"),
        ("It holds here as well.", "also"),
        ("Function that parts the path.", "split"),
        ("It counts in so far as it is known.", "if, where"),
        ("The gate hands the request on.", "forward"),
        ("The JWT was taken back here.", "revoke"),
        ("The gateway takes a token back.", "revoke"),
        ("Ours come in by the same door.", "middleware"),
        ("It passes nobody but the owner.", "only"),
        ("A key of ours signs it.", "our X"),
        ("A name that one has at home.", "you"),
        ("The answer is in the verdict cache.", "grant cache"),
        ("The cookie is sealed with a key.", "encrypt"),
        ("What cannot be checked is refused.", "name the thing first"),
        ("What a caller presents is not believed yet.", "name the thing first"),
        ("Airflow judges the signature.", "check"),
    ],
)
def test_an_odd_turn_is_found_with_a_better_way(sentence: str, better: str) -> None:
    findings = prose.find_in_text(sentence)

    assert [finding for finding in findings if better in finding.better] != []


@pytest.mark.parametrize(
    "sentence",
    [
        "A part of the path is data.",
        "The rate limit applies to parts of the application.",
        "It works as well as before.",
        "The indoors and the doorbell.",
        "Nothing is asked, but the answer is known.",
        "Hand-written pages stay.",
        "What is a token?",
        "Set `whoever` in the file.",
        "Read [](revoke-a-token.md) and [the page](taken-back-door.md).",
        "The old one has an end.",
    ],
)
def test_a_plain_sentence_is_left_alone(sentence: str) -> None:
    findings = prose.find_in_text(sentence)

    assert findings == []


def test_a_finding_names_its_line_in_a_page() -> None:
    page = "# Title\n\nFirst line,\nsecond line for whoever reads.\n"

    findings = prose.find_in_text(page, path="docs/page.md")

    assert [str(finding) for finding in findings] == [
        'docs/page.md:4: "whoever" -> anyone who, a caller that, the user who'
    ]


def test_a_turn_across_two_lines_is_found() -> None:
    findings = prose.find_in_text("The client is\ntold what to send.\n")

    assert [finding.line for finding in findings] == [1]


def test_code_blocks_and_their_comments_are_not_read() -> None:
    page = "Before.\n\n```toml\n# whoever is told\n```\n\n````text\n```\nwhoever\n```\n````\n\nAfter whoever.\n"

    findings = prose.find_in_text(page)

    assert [finding.line for finding in findings] == [13]


def test_a_glossary_a_heading_a_list_and_a_table_are_read() -> None:
    page = "## For whoever\n\n- one door\n\n| a | is told |\n\n```{glossary}\nverdict\n  A decision.\n```\n"

    findings = prose.find_in_text(page)

    assert [finding.line for finding in findings] == [1, 3, 5, 8]


def test_a_sentence_of_more_than_forty_words_is_found_and_one_of_forty_is_not() -> None:
    forty = "Words " + "word " * 38 + "end."
    longer = "Words " + "word " * 39 + "end."

    found = [prose.find_in_text(text) for text in (forty, longer, f"{forty} {forty}")]

    assert [len(findings) for findings in found] == [0, 1, 0]


def test_items_of_a_list_are_sentences_of_their_own() -> None:
    page = "".join(f"- item {number} has seven words in it\n" for number in range(12))

    findings = prose.find_in_text(page)

    assert findings == []


SOURCE = '''"""First line.

Whoever reads the module.
"""

URL = "/door"


class Settings:
    """Fine."""

    name: str = Field(description="Whoever has the name.")
    """For the one that is told."""


def fail(name: str) -> None:
    # Whoever wrote this is not read.
    log.warning("the door of %s is open", name)
    raise ConfigError(f"{name}: whoever has {name} may read it: ask an operator")
'''


def test_docstrings_descriptions_and_messages_of_a_module_are_read() -> None:
    findings = prose.find_in_python(SOURCE)

    assert [(finding.line, finding.turn) for finding in findings] == [
        (3, '"Whoever"'),
        (12, '"Whoever"'),
        (13, '"is told"'),
        (18, '"door"'),
        (19, '"whoever"'),
    ]


def test_a_query_and_markup_are_no_prose() -> None:
    source = 'QUERY = "SELECT verdict FROM door WHERE door = whoever"\nPAGE = "<p class=door>whoever</p> is told"\n'

    findings = prose.find_in_python(source)

    assert findings == []


def test_an_example_in_a_docstring_is_no_prose() -> None:
    source = '"""First line.\n\nAn example::\n\n    whoever -> door\n\nThe end, for whoever.\n"""\n'

    findings = prose.find_in_python(source)

    assert [finding.line for finding in findings] == [7]


def test_a_sentence_before_an_example_is_counted_without_the_example() -> None:
    source = '"""First line.\n\nAn example::\n\n    ' + "word " * 40 + '\n\nThe end.\n"""\n'

    findings = prose.find_in_python(source)

    assert findings == []


def test_a_list_of_names_in_code_counts_as_one_word() -> None:
    page = "The module has " + ", ".join(f"`Error{number}`" for number in range(50)) + ", and `Last`.\n"

    findings = prose.find_in_text(page)

    assert findings == []


def test_a_list_of_patterns_is_no_sentence() -> None:
    source = f'FAMILIES = "{" ".join(f"x-name{number}?" for number in range(50))}"\n'

    findings = prose.find_in_python(source)

    assert findings == []


def test_without_paths_every_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("For whoever reads.\n", encoding="utf-8")
    monkeypatch.setattr(prose, "all_files", lambda: [page])

    codes = [prose.main([]), prose.main([str(tmp_path)])]

    assert codes == [1, 1]
    assert "1 files, 1 findings" in capsys.readouterr().err


def test_the_command_prints_each_finding_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("For whoever reads.\n", encoding="utf-8")

    code = prose.main([str(page)])

    printed = f'{page}:1: "whoever" -> anyone who, a caller that, the user who\n'
    assert (code, capsys.readouterr().out) == (1, printed)


def test_the_command_is_silent_about_a_page_without_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("For everybody who reads.\n", encoding="utf-8")

    code = prose.main([str(page)])

    assert (code, capsys.readouterr().out) == (0, "")


def test_the_command_refuses_a_path_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = prose.main([str(tmp_path / "none.md")])

    assert code == 2
    assert "no such file" in capsys.readouterr().err
