"""The packages in this folder are installed and tested by the tests beside them, not collected with them."""

collect_ignore = ["tinytrainer"]
