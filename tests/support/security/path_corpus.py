"""Where the paths are that must not be read in two ways."""

from pathlib import Path

CORPUS_FILE = Path(__file__).with_name("path_corpus.json")
