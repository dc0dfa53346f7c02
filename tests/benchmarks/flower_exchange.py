"""How long Flower takes to carry one exchange: our launchers against Flower's own programs.

Four nodes, one machine, TLS and node keys, the same code-less bundle and the same thin apps on both
sides of the comparison. The clock runs from the request to start a run until the last daemon has
been called, and until the coordinator has the last closing. Limit: all daemons called within 10 s.

python tests/benchmarks/flower_exchange.py --json
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from server.supervise import SuperLink
from tests.simulators.flower.mailbox import free_port, open_mailbox, stock

NAMES = ("aa", "bb", "cc", "dd")
LIMIT_SECONDS = 10.0


def exchange(network, superlink, sites):
    """One run; seconds until all daemons were called, and until all closings were back."""
    network.stand_in.expect(len(sites))
    for site in sites:
        site.daemon.expect()
    begun = time.monotonic()
    run = superlink.start_run()
    if not network.stand_in.finished.wait(120):
        raise SystemExit("the run did not finish")
    called = max(site.daemon.calls[0][0] for site in sites) - begun
    closed = network.stand_in.closings[-1][0] - begun
    while superlink.run_status(run) != "finished":
        time.sleep(0.1)
    return called, closed


def ours(network, sites, runs):
    begun = time.monotonic()
    for site in sites:
        site.node.start()
    for site in sites:
        site.node.wait_online()
    online = time.monotonic() - begun
    taken = [exchange(network, network.superlink, sites) for _ in range(runs)]
    for site in sites:
        site.node.stop()
    return online, taken


def flowers_own(network, sites, runs, folder):
    tls, port = network.coordinator.tls, free_port()
    superlink = SuperLink(folder / "unused", tls=tls, port=port, daemon=network.address)
    with ExitStack() as stack:
        stack.enter_context(
            stock(
                "flower-superlink",
                {
                    "ssl-ca-certfile": tls.ca,
                    "ssl-certfile": tls.certificate,
                    "ssl-keyfile": tls.key,
                    "host": "127.0.0.1",
                    "port": port,
                },
                "--enable-supernode-auth",
                "--disable-runtime-dependency-installation",
                home=folder / "superlink",
                credential=network.address.environment(),
            )
        )
        superlink.wait_ready(timeout=60)
        superlink.enrol({site.org: site.public_key for site in sites})
        begun = time.monotonic()
        for site in sites:
            stack.enter_context(
                stock(
                    "flower-supernode",
                    {
                        "superlink": superlink.address,
                        "root-certificates": tls.ca,
                        "auth-supernode-private-key": site.home.flower_key,
                        "host": "127.0.0.1",
                        "port": free_port(),
                    },
                    home=folder / site.org,
                    credential=site.address.environment(),
                )
            )
        while len(superlink.online()) < len(sites):
            time.sleep(0.1)
        online = time.monotonic() - begun
        taken = [exchange(network, superlink, sites) for _ in range(runs)]
        superlink.stop()
    return online, taken


def summary(ready):
    online, taken = ready
    return {
        "four_nodes_online_s": round(online, 2),
        "all_called_s_median": round(statistics.median(called for called, _ in taken), 2),
        "all_closed_s_median": round(statistics.median(closed for _, closed in taken), 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, begun = Path(name), time.monotonic()
        with open_mailbox(folder / "ours") as network:
            ready = time.monotonic() - begun
            sites = [network.add_site(name) for name in NAMES]
            network.superlink.enrol({site.org: site.public_key for site in sites})
            mine = summary(ours(network, sites, given.runs))
            folder /= "theirs"
            folder.mkdir()
            theirs = summary(flowers_own(network, sites, max(2, given.runs // 2), folder))
    result = {
        "schema": "twinward/benchmark/flower_exchange/v1",
        "superlink_ready_s": round(ready, 2),
        "ours": mine,
        "flowers_own_programs": theirs,
        "times_faster_to_all_called": round(
            theirs["all_called_s_median"] / mine["all_called_s_median"], 1
        ),
        "times_faster_to_all_closed": round(
            theirs["all_closed_s_median"] / mine["all_closed_s_median"], 1
        ),
        "part_of_limit": round(mine["all_called_s_median"] / LIMIT_SECONDS, 3),
    }
    if given.json:
        print(json.dumps(result))
        return
    print(f"SuperLink ready               {ready:6.2f} s")
    for label, key in (
        ("four nodes online", "four_nodes_online_s"),
        ("all daemons called", "all_called_s_median"),
        ("all closings back", "all_closed_s_median"),
    ):
        print(f"{label:28s}  {mine[key]:6.2f} s   Flower's own programs {theirs[key]:6.2f} s")
    print(f"limit for all called          {LIMIT_SECONDS:6.2f} s")


if __name__ == "__main__":
    main()
