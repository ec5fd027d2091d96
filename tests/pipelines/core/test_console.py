from pipelines.core import console


def test_counting_writes_lines_into_a_log_now_and_then(capsys, monkeypatch):
    now = iter([0, 10, 31, 40, 62])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    with console.counting("checking pictures") as progress:
        progress(1000, 9000)
        progress(4000, 9000)
    assert capsys.readouterr().err == "checking pictures: 4,000 of 9,000\n"


def test_counting_draws_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with console.counting("checking pictures") as progress:
        progress(9000, 9000)
    assert "9000/9000" in capsys.readouterr().err
