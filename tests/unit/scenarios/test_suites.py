"""Suite files are read strictly; nothing in them is ignored, merged in silence or empty."""

import pytest
from stepaudit.scenarios import ScenarioError
from stepaudit.scenarios.axes import parse_axes
from stepaudit.scenarios.suites import load_suite, suite_names

HEAD = 'schema = 1\ntitle = "t"\nsubjects = ["hf"]\n'
ONE = HEAD + "scenario = [{ rows = 4 }]\n"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_file_of_tables_and_sweeps(write):
    """Both forms of `scenario`, all kinds of sweep, and duplicates counted."""
    suite = load_suite(
        write(
            HEAD
            + 'contract = "hf-4.45"\n'
            + "[[scenario]]\nrows = 4\n[[scenario]]\nrows = 4\nmax_steps = 'none'\n[[scenario]]\nrows = 5\n"
            + "[[sweep]]\nkind = 'grid'\naxes = { rows = [4, 6] }\n"
            + "[[sweep]]\nkind = 'covering'\nstrength = 2\nseed = 3\n"
            + "axes = { rows = [7, 8], drop_last = [true, false] }\n"
            + "[[sweep]]\nkind = 'boundary'\nbase = { seed = 1 }\n"
            + "[[sweep]]\nkind = 'random'\nseed = 5\ncount = 10\nbase = { learning_rate = 0.5 }\n"
            + "[axes]\nrows = [4, 5]\ndrop_last = [false]\n"
        )
    )
    assert (suite.name, suite.title, suite.subjects, suite.contract) == ("mine", "t", ("hf",), "hf-4.45")
    assert [sweep.kind for sweep in suite.sweeps] == ["grid", "covering", "boundary", "random"]
    assert suite.merged == 2 + suite.sweeps[2].merged
    assert len(suite.scenarios) == 2 + 1 + 4 + len(suite.sweeps[2].scenarios) + 10
    assert {s.learning_rate for s in suite.scenarios[-10:]} == {0.5}
    assert str(suite.coverage()) == "pairs covered 2/2"
    assert "pairs covered 4/4" in suite.sweeps[1].summary
    assert suite.notes[-1] == f"{suite.merged} duplicates merged in all"


def test_a_file_has_its_own_defaults(write):
    """What a scenario leaves out comes from the file's defaults first; sweeps have their own base."""
    suite = load_suite(
        write(ONE + "[defaults]\nseed = 9\nrows = 8\n[[sweep]]\nkind = 'grid'\naxes = { rows = [3] }\n")
    )
    assert [(s.rows, s.seed) for s in suite.scenarios] == [(4, 9), (3, 0)]


def test_a_suite_can_be_crossed_with_axes(write):
    """Every scenario gets every value; what becomes equal is merged and told."""
    suite = load_suite(write(HEAD + "scenario = [{ rows = 4 }, { rows = 5 }]\n"))
    crossed = suite.crossed(parse_axes(["rows=9", "accum=1,2"]))
    assert [(s.rows, s.grad_accum) for s in crossed.scenarios] == [(9, 1), (9, 2)]
    assert "2 duplicates merged" in crossed.notes[-1]
    assert crossed.coverage() is None


@pytest.mark.parametrize("name", ["defualt", "Default", "", "xyzzy"])
def test_an_unknown_suite_is_named(name):
    """The message has the word and the nearest suite, or all of them."""
    with pytest.raises(ScenarioError) as caught:
        load_suite(name)
    assert str(caught.value).startswith(f"unknown suite {name!r}; ")
    assert "default" in str(caught.value)


def test_the_names_are_those_of_the_files():
    """The committed suites, by their files."""
    assert suite_names() == (
        "boundary",
        "default",
        "founding",
        "numeric",
        "precision",
        "ranks",
        "smoke",
        "timeline",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.toml: key 'schema' is missing (and 2 more)"),
        ("schema = 1", "mine.toml: key 'title' is missing (and 1 more)"),
        (ONE.replace("schema = 1", "schema = 2"), "mine.toml: schema has no value 2; valid: 1"),
        (ONE.replace("schema = 1", "schema = true"), "mine.toml: schema has no value True; valid: 1"),
        (ONE.replace('"t"', "3"), "mine.toml: title = 3: input should be a valid string"),
        (ONE.replace('["hf"]', "[]"), "mine.toml: subjects = []: list should have at least 1 item"),
        (ONE.replace('["hf"]', '["hf", "hf"]'), "mine.toml: subjects has 'hf' twice"),
        (ONE.replace('["hf"]', '[" "]'), "mine.toml: subjects has ' ' in it"),
        (HEAD, "mine.toml: has no scenario and no sweep"),
        (HEAD + "scenario = []", "mine.toml: has no scenario and no sweep"),
        (ONE + "scenarios = 3", "mine.toml: unknown key 'scenarios' = 3; did you mean 'scenario'?"),
        (HEAD + "scenario = 3", "mine.toml: scenario = 3: input should be a valid list"),
        (HEAD + "scenario = [3]", "mine.toml: scenario 1 = 3: input should be a valid dictionary"),
        (
            HEAD + "scenario = [{}, { row = 4 }]",
            "mine.toml: scenario 2: unknown field 'row'; did you mean 'rows'?",
        ),
        (HEAD + "scenario = [{ rows = '4' }]", "mine.toml: scenario 1: rows must be an integer, not '4'"),
        (HEAD + "scenario = [{ rows = true }]", "mine.toml: scenario 1: rows must be an integer, not True"),
        (HEAD + "scenario = [{ rows = 4.0 }]", "mine.toml: scenario 1: rows must be an integer, not 4.0"),
        (HEAD + "scenario = [{ rows = 0 }]", "mine.toml: scenario 1: rows must be at least 1, not 0"),
        (
            HEAD + "scenario = [{ epochs = nan }]",
            "mine.toml: scenario 1: epochs must be a finite number, not nan",
        ),
        (
            HEAD + "scenario = [{ epochs = 1e999 }]",
            "mine.toml: scenario 1: epochs must be a finite number, not inf",
        ),
        (
            HEAD + "scenario = [{ lr_schedule = 'linaer' }]",
            "mine.toml: scenario 1: lr_schedule has no value 'linaer'; did you mean 'linear'?",
        ),
        (
            HEAD + "scenario = [{ dataset = 'iterable' }]",
            "mine.toml: scenario 1: dataset iterable has no length, so max_steps must be positive, not none",
        ),
        (ONE + "[defaults]\nseed = '1'", "mine.toml: defaults: seed must be an integer, not '1'"),
        (ONE + "[defaults]\nsed = 1", "mine.toml: defaults: unknown field 'sed'; did you mean 'seed'?"),
        (HEAD + "[[sweep]]", "mine.toml: sweep 1: key 'kind' is missing"),
        (
            HEAD + "[[sweep]]\nkind = 'gird'",
            "mine.toml: sweep 1: kind has no value 'gird'; did you mean 'grid'?",
        ),
        (HEAD + "[[sweep]]\nkind = 'grid'", "mine.toml: sweep 1: kind 'grid' needs axes"),
        (
            HEAD + "[[sweep]]\nkind = 'grid'\nseed = 1\naxes = { rows = [1] }",
            "mine.toml: sweep 1: kind 'grid' takes no seed = 1",
        ),
        (
            HEAD + "[[sweep]]\nkind = 'grid'\naxis = { rows = [1] }",
            "mine.toml: sweep 1: unknown key 'axis' = {'rows': [1]}; did you mean 'axes'?",
        ),
        (
            HEAD + "[[sweep]]\nkind = 'grid'\naxes = { row = [1] }",
            "mine.toml: sweep 1: axes: unknown axis 'row'; did you mean 'rows'?",
        ),
        (
            HEAD + "[[sweep]]\nkind = 'grid'\naxes = { rows = [1, '2'] }",
            "mine.toml: sweep 1: axes: rows must be an integer, not '2'",
        ),
        (
            HEAD + "[[sweep]]\nkind = 'grid'\naxes = { rows = [] }",
            "mine.toml: sweep 1: axes: axis rows has no values",
        ),
        (
            HEAD + "[[sweep]]\nkind = 'grid'\naxes = { rows = 3 }",
            "mine.toml: sweep 1: axes.rows = 3: input should be",
        ),
        (
            HEAD + "[[sweep]]\nkind = 'grid'\naxes = { rows = [1] }\nbase = { seed = -1 }",
            "mine.toml: sweep 1: base: seed must be at least 0, not -1",
        ),
        (
            HEAD + "[[sweep]]\nkind = 'grid'\naxes = { rows = [1] }\nbase = { rows = 2 }",
            "mine.toml: sweep 1: rows is an axis and in base (2)",
        ),
        (
            HEAD + "[[sweep]]\nkind = 'grid'\naxes = { dataset = ['iterable'] }",
            "mine.toml: sweep 1: the grid sweep is empty: 1 combinations excluded: dataset iterable",
        ),
        (HEAD + "[[sweep]]\nkind = 'random'\ncount = 3", "mine.toml: sweep 1: kind 'random' needs seed"),
        (
            HEAD + "[[sweep]]\nkind = 'random'\nseed = 1\ncount = 0",
            "mine.toml: sweep 1: count must be at least 1, not 0",
        ),
        (
            HEAD + "[[sweep]]\nkind = 'random'\nseed = 1\ncount = true",
            "mine.toml: sweep 1: count = True: input should be a valid integer",
        ),
        (
            HEAD + "[[sweep]]\nkind = 'covering'\naxes = { rows = [1, 2] }",
            "mine.toml: sweep 1: strength 2 needs at least 2 axes, not 1",
        ),
        (ONE + "[axes]\nrows = [4]", "mine.toml: axes: strength 2 needs at least 2 axes, not 1"),
        (ONE + "[axes]\nrwos = [4]", "mine.toml: axes: unknown axis 'rwos'; did you mean 'rows'?"),
        (HEAD + "scenario = [", "mine.toml: is not TOML: "),
    ],
)
def test_a_bad_file_is_one_line(write, text, message):
    """File, section, value and nearest valid name, on one line."""
    with pytest.raises(ScenarioError) as caught:
        load_suite(write(text))
    line = str(caught.value).replace(str(write(text)), "mine.toml")
    assert line.startswith(message)
    assert "\n" not in line


def test_a_file_that_cannot_be_read(tmp_path):
    """No file, a directory, and bytes that are no text."""
    with pytest.raises(ScenarioError, match=r"absent\.toml: no such file"):
        load_suite(str(tmp_path / "absent.toml"))
    with pytest.raises(ScenarioError, match="cannot be read: Is a directory"):
        load_suite(tmp_path)
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"title = '\xff'")
    with pytest.raises(ScenarioError, match="is not UTF-8 at byte 9"):
        load_suite(broken)


ENVIRONMENT = '[[environment]]\nsubject = "hf"\nwith = ["transformers==4.45.2"]\n'


def test_an_environment_lays_releases_over_a_subject(tmp_path):
    """Each table makes one subject of its own, in its place among the others; Python is a release like any other."""
    file = tmp_path / "mine.toml"
    file.write_text(
        'schema = 1\ntitle = "t"\nsubjects = ["hf", "plain"]\nscenario = [{ rows = 3 }]\n'
        + ENVIRONMENT
        + ENVIRONMENT.replace("4.45.2", "4.46.3")
        + 'python = "3.11"\n'
    )
    assert load_suite(str(file)).subjects == (
        "hf[transformers==4.45.2]",
        "hf[transformers==4.46.3,python==3.11]",
        "plain",
    )


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (ENVIRONMENT.replace('"hf"', '"hff"'), "subject 'hff' is not among the suite's; did you mean 'hf'?"),
        (ENVIRONMENT + "pyhton = '3.11'\n", "unknown key 'pyhton' = '3.11'; did you mean 'python'?"),
        (ENVIRONMENT + "python = '3'\n", "python"),
        ('[[environment]]\nsubject = "hf"\n', "key 'with' is missing"),
    ],
)
def test_a_wrong_environment_is_one_line_with_its_place(tmp_path, table, why):
    """File, number of the table, value."""
    file = tmp_path / "mine.toml"
    file.write_text('schema = 1\ntitle = "t"\nsubjects = ["hf"]\nscenario = [{ rows = 3 }]\n' + table)
    with pytest.raises(ScenarioError) as error:
        load_suite(str(file))
    assert str(error.value).startswith("mine.toml: environment 1: ")
    assert why in str(error.value)
