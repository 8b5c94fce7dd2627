"""The accounting of tinytrainer, one test a scenario: `pytest -n 2` or `stepaudit run --suite audit.toml`."""

import pytest
import tinytrainer


@pytest.mark.scenarios("audit.toml")
def test_accounting(audit):
    """Whatever is asked for, the books balance."""
    audit(tinytrainer.train)
