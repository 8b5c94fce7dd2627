"""A subject in a distribution of its own: it runs one update an epoch, whatever it is asked for."""

from stepaudit.harness.ledger import Claims


class Toy:
    """What stepaudit wants to know of a subject, and `train`."""

    name = "toy"
    contract = "token-mean"
    packages = ("torch", "stepaudit-toy")
    imports = ("torch",)
    environment = None
    own_process = False
    fingerprint = ""
    prints_claims = False

    def supports(self, scenario):
        """One process, and a model that says its loss."""
        return None if scenario.ranks == 1 else "one process only"

    def train(self, bench):
        """Sum everything, step once."""
        import torch

        optimizer = torch.optim.SGD(bench.model.parameters(), lr=bench.scenario.learning_rate)
        loader = torch.utils.data.DataLoader(bench.train_dataset, bench.scenario.per_device_batch_size)
        for batch in loader:
            bench.model(**batch).loss.backward()
        optimizer.step()
        return Claims(global_step=1)
