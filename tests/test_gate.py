"""The gate that a change of the method has to pass lets heads of the truth through, and templates not."""

import pytest

from benchmarks import gate


@pytest.mark.parametrize(("method", "status", "closer"), [("oracle", 0, 5), ("template", 1, 0)])
def test_the_exit_status_tells_whether_heads_are_closer(method, status, closer, tmp_path, capsys):
    assert gate.main(["--method", method, "--threads", "1", "--out", str(tmp_path)]) == status
    assert f"closer than the template: {closer} of 5" in capsys.readouterr().out
