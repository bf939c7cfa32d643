"""Finds odd English in the documentation, docstrings, settings' descriptions and messages.

`python tests/support/prose.py` reads docs/ (not the decisions, which are history), README.md, CONTRIBUTING.md,
SECURITY.md and the packages. It prints `file:line: turn -> better` for each finding and exits 1 if there is one. With
paths it reads only those.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
MAX_WORDS = 40  # of a sentence

_TURNS = (
    # Turns that make a reader read twice.
    (r"who(so)?ever", "anyone who, a caller that, the user who"),
    (r"what of", "which, the parts of"),
    (r"(is|are|was|were|be|been|being) told(?! apart)", "X tells Y; learns, gets"),
    (r"as well(?= *[.;:,)!?]|$)", "also, before the verb"),
    (r"(part(s|ed)?(?= (the|a|an|it|them|from)\b)(?<!of parts)|to part|parting)", "split, separate"),
    (r"in ?so ?far as", "if, where"),
    (r"inasmuch as", "because"),
    (r"there(of|in|by|upon|to|fore it)|where(of|in|by|upon|as|to)|hence|lest|hitherto|henceforth", "plain words: so, which"),
    (r"(nobody|no one|nothing|none|all|any|every|anything|everything|no \w+|every \w+|all \w+|any \w+) but", "only; except"),
    (r"of (ours|yours|theirs|hers)", "our X, your X"),
    (r"(?:(?<=^)|(?<=[,;:] )|(?<=that )|(?<=if )|(?<=when )|(?<=what )|(?<=where )|(?<=which ))one (has|had|wants|asks|gives|makes|sends|knows)", "you, the user, the caller"),
    (r"(what|who|whom|which) (a|an|the|one) [\w' -]{1,40} (presents|sends|says|gives|shows|brings|holds|names|makes|has|asks for) (is|are|must|may|can|stands|goes|counts)", "the X that Y sends"),
    (r"such a one|such an one", "it"),
    (r"another [\w`'-]+ than", "a different X from; any X except"),
    (r"anew", "again"),
    (r"all the same", "anyway"),
    (r"to speak of", "(leave out)"),
    (r"(is|are|be|was|were) led( back)? to", "X redirects Y to"),
    (r"(is|are|was|were|be) away", "is unavailable"),
    (r"(lets?|letting) \w+ in", "accepts, authenticates"),
    (r"(its|his|her|whose|the|a) word (of|on|for|that|about)", "message, answer, notice"),
    (r"(not |un)?spoken here|no \w+ speaks", "not supported, not implemented"),
    (r"stands? in the way( of)?", "prevents"),
    (r"so far ahead", "in the future"),
    (r"^Return (when|while)", "Raise X unless"),
    (r"^Return what", "Return the X that"),
    (r"judge[sd]?|judging|judgement", "check, verify, decide"),
    (r"(fell|falls?|are|is) silent|a silent \w+", "does not answer"),
    (r"(who|nobody|everybody|somebody|he|they|you) comes? in|(may|can|still) come in|comes? in as", "logs in, authenticates"),
    # One word for one thing: docs/glossary.md.
    (r"(take|takes|taken|taking|took)( (it|them|that|this|all|a|an|the|his|its|their|one|each|every|given|tokens?|JWTs?|X)){0,3} back", "revoke"),
    (r"kill(s|ed|ing)?( \w+){0,2} (tokens?|sessions?|credentials?)|bury|buries|buried", "revoke"),
    (r"hand(s|ed|ing)? (\w+ )?on|hand(s|ed|ing)? (it|them|the \w+|a \w+) on", "forward, pass"),
    (r"doors?", "middleware, token endpoint, API"),
    (r"denials", "denylist"),
    (r"given tokens?|tokens? (that (was|were|is|are) )?given", "issued token"),
    (r"verdicts?( cache)?", "decision; grant cache, introspection cache"),
    (r"seal(s|ed|ing)?", "encrypt"),
    (r"wishes", "request"),
    (r"newcomers?", "first login, new user, provisioning"),
    (r"leftovers", "login cookies of the upstream"),
    (r"kept logins?", "saved logins"),
    (r"hand-offs?", "login completion"),
    (r"tally|tallies", "rate limit"),
    (r"imagined", "dry run"),
    (r"tokens? (that )?(is|are) (no longer |not |still )?good", "valid, active"),
)  # fmt: skip
TURNS = [(re.compile(rf"(?<![\w/-])(?:{turn})(?![\w/-])", re.IGNORECASE), better) for turn, better in _TURNS]
# A sentence that begins with a relative and is no question: "What cannot be checked is refused."
_INVERTED = re.compile(r"(What|Who|Whom|Of|Whose)\b(?! (course|these|those)\b)(?!.*\?$)")
_INVERTED_BETTER = "name the thing first: the X that ..."

_FENCE = re.compile(r"^ *(`{3,}|~{3,})(\{?\w*\}?)")
_PROSE_FENCES = {"{glossary}", "{note}", "{warning}", "{tip}", "{important}", "{admonition}", "{versionadded}"}
_NEW_BLOCK = re.compile(r"^\s*(?:[-*+] |\d+\. |#|>|:\w+|\w[\w ,]*:$|\w+(?: \([^)]*\))?: )")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[\"'(*`A-Z0-9X])|(?<=:)\s*$")
_PLACEHOLDER = "X"
# A list of names in code is one thing to read, however long it is.
_NAMES = re.compile(rf"{_PLACEHOLDER}(?:,\s+(?:and\s+|or\s+)?{_PLACEHOLDER}\b)+")
_NO_ENGLISH = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER)\b|</?\w+|[{};]\s*$", re.MULTILINE)


class Finding(NamedTuple):
    """A turn in a file and the better way."""

    path: str
    line: int
    turn: str
    better: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.turn} -> {self.better}"


class Block(NamedTuple):
    """A paragraph, list item, heading or cell, without code; `lines` has its lines of text with their numbers."""

    lines: list[tuple[int, str]]
    is_title: bool = False


def find_in_text(text: str, *, path: str = "-") -> list[Finding]:
    """Return what is odd in a page of Markdown."""
    return [found for block in _blocks_of_page(text) for found in _check(block, path)]


def find_in_python(source: str, *, path: str = "-") -> list[Finding]:
    """Return what is odd in the docstrings and in the literals of three words or more, which somebody may read."""
    tree = ast.parse(source)
    docstrings = {id(node) for node, _ in _docstrings(tree)}
    found: list[Finding] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else _PLACEHOLDER for part in node.values]
            docstrings |= {id(part) for part in node.values}
            text = "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            text = node.value
        else:
            continue
        # Fewer words are a name.
        if len(text.split()) >= 3 and not _NO_ENGLISH.search(text):
            found += _check(Block([(node.lineno, " ".join(text.split()))], is_title=True), path)
    for docstring, text in _docstrings(tree):
        for block in _blocks_of_docstring(text, docstring.lineno):
            found += _check(block, path)
    return sorted(found, key=lambda one: one.line)


def find_in_file(file: Path) -> list[Finding]:
    """Return what is odd in a file; its suffix says how to read it."""
    path = str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)
    text = file.read_text(encoding="utf-8")
    return find_in_python(text, path=path) if file.suffix == ".py" else find_in_text(text, path=path)


def all_files() -> list[Path]:
    """Return every file that must hold: pages that are no history, and modules that are installed."""
    pages = [page for page in (ROOT / "docs").rglob("*.md") if not {"_build", "decisions"} & {*page.parts}]
    pages += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    modules = [module for package in ("compat_auth", "backends") for module in (ROOT / package).rglob("*.py")]
    return sorted([*pages, *modules])


def _docstrings(tree: ast.Module) -> Iterator[tuple[ast.Constant, str]]:
    for parent in ast.walk(tree):
        body = getattr(parent, "body", None)
        # Also the text under an attribute: it is read as one.
        for line in body if isinstance(body, list) else ():
            match line:
                case ast.Expr(value=ast.Constant(value=str(text)) as node):
                    yield node, text
                case _:
                    pass


def _blocks_of_page(text: str) -> Iterator[Block]:
    """Yield the prose; code blocks, their language apart, and options of directives are none."""
    fence = ""
    lines: list[tuple[int, str]] = []
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        opened = _FENCE.match(line)
        if opened:
            yield from _block(lines)
            if not fence:
                fence = "" if opened[2] in _PROSE_FENCES else opened[1]
            elif opened[1].startswith(fence):
                fence = ""
        elif fence:
            continue
        elif line.lstrip().startswith("|"):
            yield from _block(lines)
            for cell in line.strip().strip("|").split("|"):
                yield Block([(number, _plain(cell))], is_title=True)
        elif not line.strip() or _NEW_BLOCK.match(line):
            yield from _block(lines)
            if line.startswith("#"):
                yield Block([(number, _plain(line))], is_title=True)
            else:
                lines.append((number, _plain(line)))
        else:
            lines.append((number, _plain(line)))


def _blocks_of_docstring(text: str, first: int) -> Iterator[Block]:
    literal = False
    lines: list[tuple[int, str]] = []
    for number, line in enumerate([*text.splitlines(), ""], start=first):
        if literal and (not line.strip() or line.startswith((" ", "\t"))):
            continue
        if not line.strip() or _NEW_BLOCK.match(line):
            yield from _block(lines)
        literal = line.rstrip().endswith("::")
        lines.append((number, _plain(line)))
        if literal:
            yield from _block(lines)
    yield from _block(lines)


def _block(lines: list[tuple[int, str]]) -> Iterator[Block]:
    """Yield the lines as a block, if there are any, and empty the list."""
    if any(line for _, line in lines):
        yield Block([*lines])
    lines.clear()


def _plain(line: str) -> str:
    """Return a line without mark-up; code becomes one word, a link its text."""
    line = re.sub(r"``?[^`]+``?(?:\{[^}]*\})?", _PLACEHOLDER, re.sub(r"\{[\w:]+\}(?=`)", "", line))
    line = re.sub(r"\[([^]]*)\](?:\([^)]*\)|\[[^]]*\])", lambda link: link[1] or _PLACEHOLDER, line)
    return re.sub(r"^[#>\s]*(?:[-*+] |\d+\. )?", "", line.replace("**", "").replace("*", "")).strip()


def _check(block: Block, path: str) -> Iterator[Finding]:
    text = ""
    starts: list[tuple[int, int]] = []
    for number, line in block.lines:
        starts.append((len(text), number))
        text += line + " "

    def line_at(offset: int) -> int:
        return next(number for start, number in reversed(starts) if start <= offset)

    for turn, better in TURNS:
        for found in turn.finditer(text):
            yield Finding(path, line_at(found.start()), f'"{found[0]}"', better)
    begin = 0
    for end in [*(found.start() for found in _SENTENCE_END.finditer(text)), len(text)]:
        sentence = text[begin:end].strip()
        offset = begin + len(text[begin:end]) - len(text[begin:end].lstrip())
        if not block.is_title and _INVERTED.match(sentence) and sentence.endswith((".", ":")):
            yield Finding(path, line_at(offset), f'"{" ".join(sentence.split()[:5])} ..."', _INVERTED_BETTER)
        words = len(re.findall(r"[\w'-]+", _NAMES.sub(_PLACEHOLDER, sentence)))
        # A list of patterns has no punctuation between words.
        if words > MAX_WORDS and (not block.is_title or re.search(r"[.;:,!](\s|$)", sentence)):
            yield Finding(path, line_at(offset), f'"{" ".join(sentence.split()[:5])} ..."', f"split {words} words")
        begin = end


def main(arguments: list[str]) -> int:
    """Print every finding; return 1 if there is one, or 2 if a path is not there."""
    if arguments:
        named = [Path(argument).resolve() for argument in arguments]
        if absent := [str(path) for path in named if not path.exists()]:
            print(f"no such file: {', '.join(absent)}", file=sys.stderr)
            return 2
        files = [file for file in all_files() if any(file.is_relative_to(path) for path in named)]
        files += [path for path in named if path.is_file() and path not in files]
    else:
        files = all_files()
    findings = [finding for file in files for finding in find_in_file(file)]
    print(*findings, sep="\n", end="\n" if findings else "")
    print(f"{len(files)} files, {len(findings)} findings", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
