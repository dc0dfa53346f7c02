"""The acts of the demonstration, in order. Each prints the public commands that it runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

from twinward.demo.intruder import knock, self_signed, stock_supernode
from twinward.demo.live import LiveRun
from twinward.demo.network import STUDY, LocalNetwork
from twinward.demo.stage import Json, Stage
from twinward.demo.twin_act import ask_a_twin
from twinward.errors import InternalError

WITHDRAW_AFTER = 8
KILL_AFTER = 16
REFUSE_EVERY = 9
WALLET = ("--wallet", "patients")


def perform(stage: Stage, network: LocalNetwork, *, data_folder: Path) -> Json:
    """Everything from no keys at all to a verified model; returns what was seen."""
    seen: Json = {"hospitals": list(network.hospitals)}
    stage.heading("A network is founded: every member makes its own keys and signs one file")
    plan = network.found()
    stage.say(
        f"plan {plan['digest'][:16]}: epsilon {plan['epsilon']:g} at delta {plan['delta']:g}, "
        f"noise multiplier {plan['noise_multiplier']:.2f}; approved by each hospital"
    )
    stage.heading("Ledger, coordinator and hospitals start")
    stage.say("(all on loopback: the one-port front door and the hospitals' forwarder come later)")
    network.start()
    for name in network.hospitals:
        stage.say(f"{name}: {'green' if network.status(name)['healthy'] else 'starting'}")
    stranger = _stranger(stage, network)
    seen["consents"] = _consents(stage, network)
    seen["stranger"] = _stranger_refused(stage, stranger)
    release, seen["withdrawal"], seen["lost"] = _run(stage, network, seen["consents"])
    seen |= {"release": release, "reserved": _budgets(stage, network)}
    seen["comparison"] = _comparison(stage, plan, data_folder)
    seen["evidence"] = _verify(stage, network, Path(release["pack"]))
    seen["twin"] = ask_a_twin(stage, network.hospitals[0])
    return seen


def _consents(stage: Stage, network: LocalNetwork) -> Json:
    stage.heading("Patients answer their letters; their keys never leave the patients' process")
    answers: list[Json] = []
    for name in network.hospitals:
        words = ("consent", "grant", "--wallet", "patients", "--letters", f"{name}.letters")
        chosen = ("--all", "--refuse-every", str(REFUSE_EVERY))
        answers += stage.command(*words, *chosen)["letters"]
    granted = [one for one in answers if one["answer"] == "granted"]
    expected = {name: sum(one["hospital"] == name for one in granted) for name in network.hospitals}
    # A grant widens nothing until the ledger shows it: wait for the cohorts to fill.
    deadline = time.monotonic() + 30
    cohorts = {name: network.cohort(name) for name in network.hospitals}
    while cohorts != expected and time.monotonic() < deadline:
        time.sleep(0.2)
        cohorts = {name: network.cohort(name) for name in network.hospitals}
    if cohorts != expected:
        raise InternalError(
            "consents did not reach the ledger in time",
            code="TW9015",
            note=f"granted {expected}, in force {cohorts}",
            help="keep the folder with --keep and read the nodes' logs",
        )
    counts = ", ".join(f"{name} {count}" for name, count in cohorts.items())
    stage.say(f"{len(granted)} of {len(answers)} patients said yes, the others no")
    stage.say(f"cohorts, known to each hospital and to this demo, not to the coordinator: {counts}")
    return {
        "granted": len(granted),
        "refused": len(answers) - len(granted),
        "cohorts": cohorts,
        "example": {
            name: next(one["letter"] for one in granted if one["hospital"] == name)
            for name in network.hospitals
        },
    }


def _stranger(stage: Stage, network: LocalNetwork) -> Json:
    """A hospital that nobody endorsed tries three doors; two answers come while others work."""
    stage.heading("A stranger, who has keys but stands in no founding file, tries to join")
    name = "stranger"
    first = next(iter(network.data.values()))
    stage.command("node", "init", name, "--name", name, "--data", str(first))
    refusal = stage.refused("node", "accept", name, "coordinator/founding.json")["error"]
    stage.say(f"its own node: [{refusal['code']}] {refusal['message']}")
    founding = json.loads((stage.folder / "coordinator/founding.json").read_bytes())
    endpoints = founding["payload"]["endpoints"]
    own_key = stage.folder / name / "secrets" / "tls.key"
    own_certificate = stage.folder / name / "self-signed.pem"
    self_signed(own_key, own_certificate)
    answer = knock(endpoints["network"], key_file=own_key, certificate_file=own_certificate)
    if not answer:
        raise InternalError(
            "the coordinator let a stranger in",
            code="TW9016",
            help="this is a serious fault: report it and do not use this version",
        )
    _member_is_let_in(stage.folder / network.hospitals[0], endpoints["network"])
    stage.say(f"its own certificate at the coordinator's port: refused ({answer})")
    key = f"{name}/secrets/flower.key"
    stage.say(
        f"$ flower-supernode --superlink {endpoints['flower']} "
        f"--auth-supernode-private-key {key} ... &"
    )
    process = stock_supernode(
        endpoints["flower"],
        ca=stage.folder / "coordinator/ca.pem",
        key=stage.folder / key,
        folder=stage.folder / name,
    )
    stage.brief.append(process)
    return {"code": refusal["code"], "tls": answer, "process": process}


def _member_is_let_in(folder: Path, address: str) -> None:
    """The same knock with a member's certificate: a closed port would refuse strangers too."""
    answer = knock(
        address, key_file=folder / "secrets" / "tls.key", certificate_file=folder / "tls.pem"
    )
    if answer:
        raise InternalError(
            f"the coordinator refused a member's certificate ({answer})",
            code="TW9017",
            help="keep the folder with --keep and read coordinator.log",
        )


def _stranger_refused(stage: Stage, stranger: Json) -> Json:
    process = stranger.pop("process")
    said = process.communicate(timeout=60)[0].decode(errors="replace")
    refused = process.returncode != 0
    stage.say(
        f"the stranger's SuperNode, meanwhile: {'refused by the SuperLink' if refused else said}"
    )
    if not refused:
        raise InternalError(
            "the SuperLink accepted a key that nobody registered",
            code="TW9016",
            help="this is a serious fault: report it and do not use this version",
        )
    return {**stranger, "supernode_exit": process.returncode}


def _run(stage: Stage, network: LocalNetwork, consents: Json) -> tuple[Json, Json, Json]:
    """One run: a patient withdraws, a hospital dies, the rest go on."""
    stage.heading("One run: masked, noised sums; a patient withdraws; a hospital loses power")
    home, victim = network.hospitals[0], network.hospitals[-1]
    withdrawal: Json = {}

    def withdraw() -> None:
        words = ("consent", "withdraw", *WALLET, consents["example"][home])
        outcome = stage.command(*words)["letters"][0]
        withdrawal.update(outcome["receipt"], cohort_after=network.cohort(home))
        stage.say(
            f"receipt signed by {home}: not used from step {withdrawal['excluded_from_step']} on; "
            f"cohort there {consents['cohorts'][home]} -> {withdrawal['cohort_after']}"
        )

    def kill() -> None:
        stage.say(f"$ kill -9 the node of {victim}")
        stage.kill(victim)

    live = LiveRun(stage, at_step={WITHDRAW_AFTER: withdraw, KILL_AFTER: kill})
    release = live.follow("server", "run", "coordinator", "--study", STUDY)
    lost = next((event for event in live.events if event["event"] == "lost"), {})
    stage.say(
        f"released: {release['attempts']} attempts made, {release['attempts_reserved']} paid for; "
        f"ledger block {release['ledger_block']}, consent head {release['ledger_head'][:16]}"
    )
    _measured(stage, release["evaluation"])
    return release, withdrawal, lost


def _measured(stage: Stage, evaluation: Json | None) -> None:
    if not evaluation or evaluation["missing"] is not None or evaluation["auroc"] is None:
        stage.say(f"not measured: {(evaluation or {}).get('missing') or 'too few held out'}")
        return
    found = evaluation["auroc"]
    stage.say(
        f"AUROC on all hospitals' held-out patients: {found['value']:.3f}, 95 % interval "
        f"{found['low']:.3f} to {found['high']:.3f}, privacy noise (sd {found['noise_sd']:.3f}) "
        "included; the report has ROC and calibration"
    )


def _budgets(stage: Stage, network: LocalNetwork) -> Json:
    spent, held_out = {}, 0.0
    for name in network.hospitals:
        if name in stage.running:
            budget = network.status(name)["budget"]
            spent[name] = budget["epsilon_spent"]
            held_out = max(held_out, budget["epsilon_spent_if_held_out"])
    line = ", ".join(f"{name} {value:.2f}" for name, value in spent.items())
    stage.say(
        f"epsilon spent of 3 for life, worst case: {line}; of patients held out to measure the "
        f"model {held_out:.2f} (attempts never made are given back)"
    )
    return spent


def _comparison(stage: Stage, plan: Json, data_folder: Path) -> Json:
    stage.heading("Was it worth it? An experiment in one process on the same files")
    found = stage.command(
        "experiment", "compare", str(data_folder), "--plan", plan["plan"], "--splits", "10"
    )
    for row in found["rows"]:
        cells = [f"{row['method']:<16} pooled {row['pooled']['mean']:.3f}"]
        for name, figure in row["within"].items():
            cells.append(
                f"{name} {figure if isinstance(figure, str) else format(figure['mean'], '.3f')}"
            )
        stage.say("  ".join(cells))
    stage.say(f"AUROC, mean of {found['splits']} splits. {found['note']}")
    return found


def _verify(stage: Stage, network: LocalNetwork, pack: Path) -> Json:
    stage.heading("An auditor verifies the evidence offline, then someone flips one byte")
    founding = f"{network.hospitals[0]}/founding.json"
    report = stage.command("verify", str(pack), "--founding", founding)
    for check in report["checks"]:
        stage.say(f"ok  {check['name']}: {check['detail']}")
    forged = stage.folder / "forged.zip"
    data = bytearray((stage.folder / pack).read_bytes())
    data[len(data) // 3] ^= 1
    forged.write_bytes(data)
    fault = stage.refused("verify", forged.name, "--founding", founding)["faults"][0]
    stage.say(f"FAULT  {fault['code']} in {fault['record']}: {fault['message']}")
    banner = next(note for note in report["not_shown"] if "1 operator" in note)
    stage.say(f"not shown: {banner}")
    return {
        "verified": report["ok"],
        "forged_fault": fault,
        "operators_and_witnesses": "1 operator" + banner.partition("1 operator")[2],
    }
