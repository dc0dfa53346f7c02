import io
import json

from twinward import logging


def test_a_key_that_is_not_on_the_list_never_reaches_the_log():
    stream = io.StringIO()
    logging.configure(role="node", org="cleveland", stream=stream)
    logging.log().info("cohort built", step=3, patient="cleveland-0007", cohort_size=188)
    entry = json.loads(stream.getvalue())
    assert entry.pop("timestamp").startswith("20")  # any digits may stand in its microseconds
    line = json.dumps(entry)
    assert "0007" not in line
    assert "188" not in line
    assert (entry["step"], entry["org"], entry["role"]) == (3, "cleveland", "node")
    assert entry["hint"] == "2 unlisted key(s) dropped"
