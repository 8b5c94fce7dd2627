"""A run says why: the diagnosis is in verdict.json, on the terminal, in summary.md and in the page, and stays there."""

AXES = ("--axis", "rows=8,24,60", "--axis", "grad_accum=1,2,4", "--axis", "max_steps=3,7", "--no-reference")


def test_a_run_says_why_and_check_and_report_keep_it(stepaudit, quick):
    """Formula with numbers and conditions are the same in every report, and after `check` and `report`."""
    stepaudit.variables = {"STEPAUDIT_HISTORY": ""}
    done = stepaudit("run", "--subject", "fault@epochs-times-max-steps", *AXES, *quick)
    assert done.code == 1, done.out + done.err
    first = stepaudit.verdict()["clusters"][0]
    assert first["rule"] == "target"
    diagnosis = first["diagnosis"]
    assert diagnosis["separates"]
    assert diagnosis["note"] == ""
    assert any(line["differs"] for line in diagnosis["books"])
    formula = diagnosis["formula"]
    assert (formula["right"], formula["of"]) == (18, 18)
    assert formula["contract"].startswith("T = max_steps = 7")
    folder = stepaudit.folder / "stepaudit-out"
    shown = " ".join(done.out.split())
    for text in (formula["formula"], formula["numbers"], diagnosis["interaction"]):
        assert text in shown
        assert text in (folder / "summary.md").read_text()
        assert text.replace(">", "&gt;").replace("<", "&lt;") in (folder / "report.html").read_text()
    for command in ("check", "report"):
        stepaudit(command)
        assert stepaudit.verdict()["clusters"][0]["diagnosis"] == diagnosis
