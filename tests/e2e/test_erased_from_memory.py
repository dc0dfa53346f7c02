"""An erasure reaches the memory of a running node: its bytes are searched from outside."""

from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from hospital_node import consents
from hospital_node.data import records
from hospital_node.settings import FILE, NodeSettings
from models import registry
from tests.simulators.network import eventually
from twinward.settings import load

pytestmark = pytest.mark.slow


def test_after_an_erasure_in_a_run_no_byte_of_the_person_is_in_the_nodes_memory(network):
    name = network.hospitals[2]
    folder = network.folder / name
    table = records.read(load(NodeSettings, folder / FILE).data, hospital=name)
    plan = network.the_plan()
    encoded = registry.risk(plan.model).encode(table.columns, site=name, sites=plan.sites)
    rows = next(iter(table.columns.values())).base
    reference = next(each for each in network.granted(name)[::-1] if is_unlike_others(
        rows, encoded, table.records.index(record_of(network, name, each))
    ))  # fmt: skip
    record = record_of(network, name, reference)
    row = table.records.index(record)
    other = (row + 1) % len(table.records)

    def traces(of):
        return (
            table.records[of].encode(), table.records[of].encode("utf-16-le"),
            table.records[of].encode("utf-32-le"), rows[of].tobytes(), encoded[of].tobytes(),
        )  # fmt: skip

    pid, before = network.pid(name), network.cohort(name)
    run = network.run()
    run.until("step", step=6)
    found = searched(pid, traces(row))
    assert found[0] > 0  # the search finds what is there
    assert found[3] > 0
    network.withdraw(reference)
    report = network.stage.command("node", "erase", name, record, "--yes")["report"]["payload"]
    assert report["memory"] == "let go"
    # A moment later: who had just looked has a copy on a stack.
    eventually(lambda: not any(searched(pid, traces(row))), seconds=20, note=lambda: found)
    assert searched(pid, traces(other))[0] > 0
    run.end()
    assert sorted(run.release["members"]) == sorted(network.hospitals)
    assert not any(searched(pid, traces(row)))
    assert network.pid(name) == pid
    assert network.status(name)["patients"] == len(table) - 1
    assert network.cohort(name) == before - 1
    assert len(network.complete_run().release["members"]) == len(network.hospitals)
    assert not any(searched(pid, traces(row)))


def record_of(network, name, reference):
    vault = consents.open_vault(network.folder / name)
    with closing(vault.store), network.wallet() as wallet:
        return vault.enrolment(wallet.entry(reference).letter.code).record


def is_unlike_others(rows, encoded, row):
    """Nobody else has these numbers, so that they are this patient's wherever they are found."""
    return (np.isclose(rows, rows[row], equal_nan=True).all(1).sum() == 1) and (
        np.isclose(encoded, encoded[row]).all(1).sum() == 1
    )


def searched(pid, patterns):
    """How often each pattern stands in what a process can write to."""
    counts = [0] * len(patterns)
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for content in written(pid, memory):
                for place, pattern in enumerate(patterns):
                    counts[place] += content.count(pattern)
    except PermissionError:
        pytest.skip("this user may not look into the memory of a process")
    return counts


def written(pid, memory):
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        where, rights, *_ = line.split()
        if rights.startswith("rw"):
            start, end = (int(part, 16) for part in where.split("-"))
            memory.seek(start)
            with suppress(OSError):  # gone since
                yield memory.read(end - start)
