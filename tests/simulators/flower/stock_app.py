"""The app that ``benchmarks/time_to_auroc.py`` gives to stock Flower: FedAvg and Opacus.

As their examples put the two together. It is copied into a bundle and imports nothing of ours.
"""

import warnings
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

server = ServerApp()
client = ClientApp()
SETTINGS = ("sigma", "norm", "rate", "lr")


@server.main()
def main(grid, context):
    """FedAvg; the model after each round becomes a file, whose time is the round's."""
    config = context.run_config

    def keep(server_round, arrays):
        if server_round:
            path = Path(config["out"]) / f"round-{server_round:03d}.npy"
            np.save(path, arrays.to_numpy_ndarrays()[0])
        return MetricRecord({})

    FedAvg(fraction_evaluate=0.0, min_train_nodes=4, min_available_nodes=4).start(
        grid=grid,
        initial_arrays=ArrayRecord([np.load(config["start"])]),
        num_rounds=config["num-rounds"],
        train_config=ConfigRecord({name: config[name] for name in SETTINGS}),
        evaluate_fn=keep,
    )


@client.train()
def train(message, context):
    """One epoch over this site's records."""
    weights = message.content["arrays"].to_numpy_ndarrays()[0]
    with np.load(context.node_config["data"]) as data:
        x, y = data["x"], data["y"]
    trained = private_epoch(weights, x, y, message.content["config"])
    content = {
        "arrays": ArrayRecord([trained]),
        "metrics": MetricRecord({"num-examples": len(y)}),
    }
    return Message(RecordDict(content), reply_to=message)


def private_epoch(weights, x, y, config):
    """One epoch of DP-SGD by Opacus: Poisson batches, its own noise."""
    import torch
    from opacus import PrivacyEngine
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    model = nn.Linear(x.shape[1], 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(weights.copy())[None])
    records = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    loader = DataLoader(records, batch_size=max(1, round(config["rate"] * len(y))))
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"])
    private, optimizer, loader = PrivacyEngine(accountant="prv").make_private(
        module=model, optimizer=optimizer, data_loader=loader,
        noise_multiplier=config["sigma"], max_grad_norm=config["norm"],
    )  # fmt: skip
    loss = nn.BCEWithLogitsLoss()
    for batch, labels in loader:
        optimizer.zero_grad()
        loss(private(batch)[:, 0], labels).backward()
        optimizer.step()
    return model.weight.detach().numpy()[0].copy()
