"""``python -m jaxconv train``: data, models against PyTorch, determinism, a user's mistakes."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxconv.cli.app import main
from jaxconv.cli.errors import UserError
from jaxconv.cli.train import loop, report
from jaxconv.cli.train.data import bundled_digits, load_digits, pixel_order
from jaxconv.cli.train.model import MODELS, count

needs_torch = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="PyTorch is a test dependency on Python 3.11 only"
)


def arrays(train=48, test=16, **changes):
    rng = np.random.default_rng(3)
    made = {
        "x_train": rng.integers(0, 256, (train, 28, 28), np.uint8),
        "y_train": rng.integers(0, 10, train),
        "x_test": rng.integers(0, 256, (test, 28, 28), np.uint8),
        "y_test": rng.integers(0, 10, test),
    }
    made.update(changes)
    return {key: value for key, value in made.items() if value is not None}


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.npz"
    np.savez(path, **arrays())
    return path


def train(*options):
    return main(["train", *map(str, options)])


def test_bundled_digits_are_split_by_class():
    digits = bundled_digits()
    assert digits.x_train.shape == (4000, 1, 28, 28) and digits.x_test.shape == (1000, 1, 28, 28)
    assert digits.x_train.dtype == np.float32 and digits.x_train.max() == 1
    assert np.bincount(digits.y_train).tolist() == [400] * 10
    assert np.bincount(digits.y_test).tolist() == [100] * 10
    # No picture is in both parts, and a second call splits alike.
    seen = {picture.tobytes() for picture in digits.x_train}
    assert not seen & {picture.tobytes() for picture in digits.x_test}
    np.testing.assert_array_equal(digits.y_train, bundled_digits().y_train)


def test_permutation_is_one_order_for_all_pixels(small):
    digits = load_digits(small)
    permuted = digits.permuted()
    assert sorted(pixel_order()) == list(range(784))
    for part in ("x_train", "x_test"):
        before, after = getattr(digits, part), getattr(permuted, part)
        np.testing.assert_array_equal(
            after.reshape(len(after), -1), before.reshape(len(before), -1)[:, pixel_order()]
        )


def test_models_have_equally_many_parameters():
    sizes = {name: count(model.init(jax.random.key(0))) for name, model in MODELS.items()}
    assert sizes == {"cnn": 36970, "mlp": 36970}


@needs_torch
@pytest.mark.parametrize("name", MODELS)
def test_models_equal_pytorch(name):
    import torch
    from torch import nn

    torch_models = {
        "cnn": nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 24, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(384, 84), nn.ReLU(), nn.Linear(84, 10),
        ),
        "mlp": nn.Sequential(
            nn.Flatten(), nn.Linear(784, 44), nn.ReLU(), nn.Linear(44, 44), nn.ReLU(),
            nn.Linear(44, 10),
        ),
    }  # fmt: skip
    model, net = MODELS[name], torch_models[name]
    parameters = model.init(jax.random.key(1))
    layers = [layer for layer in net if hasattr(layer, "weight")]
    for layer, ours in zip(layers, parameters.values(), strict=True):
        layer.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in ours.items()})
    images = np.random.default_rng(0).random((5, 1, 28, 28), np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(
        model.apply(parameters, jnp.asarray(images), None), expected, atol=2e-6
    )


def test_training_learns_and_reports(tmp_path, capsys):
    save, plot = tmp_path / "p.npz", tmp_path / "p.png"
    code = train("--epochs", 2, "--batch-size", 50, "--save", save, "--plot", plot)
    out = capsys.readouterr().out
    assert code == 0
    assert "4,000 to train" in out and "worst pairs" in out and "test accuracy" in out
    accuracy = float(out.split("test accuracy ")[1].split("%")[0])
    assert accuracy > 88
    with np.load(save) as file:
        assert file["conv1.weight"].shape == (6, 1, 5, 5)
        assert sum(file[key].size for key in file.files) == 36970
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_same_seed_same_numbers(small, tmp_path):
    results = []
    for run, seed in enumerate((7, 7, 8)):
        save = tmp_path / f"{run}.npz"
        options = ("--data", small, "--epochs", 2, "--batch-size", 16, "--permute")
        assert train(*options, "--seed", seed, "--save", save) == 0
        with np.load(save) as file:
            results.append({key: file[key] for key in file.files})
    for key, value in results[0].items():
        np.testing.assert_array_equal(value, results[1][key])
    assert any((value != results[2][key]).any() for key, value in results[0].items())


def test_a_last_partial_batch_sits_out(small, capsys):
    # 48 digits in batches of 20: two steps an epoch.
    digits = load_digits(small)
    trainer = loop.Trainer(
        MODELS["mlp"], digits, epochs=3, batch_size=20, learning_rate=1e-3, seed=0
    )
    news = list(trainer.train())
    assert len(trainer.losses) == 6
    assert [n.images for n in news if isinstance(n, loop.Block)] == [40, 80, 120]
    assert [n.epoch for n in news if isinstance(n, loop.Epoch)] == [1, 2, 3]
    assert trainer.predict(digits.x_test).shape == (16,)


def test_ctrl_c_still_reports_and_saves(small, tmp_path, capsys, monkeypatch):
    save = tmp_path / "p.npz"
    original = loop.Trainer.train

    def interrupted(self):
        yield next(original(self))
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Trainer, "train", interrupted)
    options = ("--data", small, "--batch-size", 16, "--model", "mlp", "--save", save)
    assert train(*options) == 130
    out = capsys.readouterr().out
    assert "interrupted after 3 steps" in out and "test accuracy" in out
    assert save.exists()


def test_worst_pairs_are_counted_and_ordered():
    labels = np.array([3, 3, 3, 5, 5, 9, 0])
    predictions = np.array([5, 5, 3, 3, 5, 4, 0])
    assert report.worst_pairs(labels, predictions) == [(3, 5, 2), (5, 3, 1), (9, 4, 1)]
    assert report.worst_pairs(labels, labels) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, r"must hold x_train, y_train, x_test, y_test; got .* without y_test"),
        (
            {"x_train": np.zeros((48, 784), np.uint8)},
            r"x_train must be \(N, 28, 28\) of uint8; got",
        ),
        ({"x_test": np.zeros((16, 28, 28), np.float32)}, r"x_test must be .*; got .*float32"),
        ({"y_train": np.zeros(48)}, r"y_train must be \(N,\) of an integer type"),
        ({"y_train": np.zeros(47, int)}, r"x_train and y_train must have the same length"),
        ({"y_test": np.full(16, 10)}, r"labels must be 0 to 9; got y_test .* with 10 to 10"),
        (
            {"y_train": np.array([None] * 48)},
            r"plain numbers; got y_train .* objects that need pickle",
        ),
    ],
)
def test_wrong_data_is_told(tmp_path, changes, message):
    path = tmp_path / "wrong.npz"
    np.savez(path, **arrays(**changes))
    with pytest.raises(UserError, match=message):
        load_digits(path)


def test_files_that_are_no_archive_are_told(tmp_path, small):
    text, single, cut = tmp_path / "a.npz", tmp_path / "b.npy", tmp_path / "c.npz"
    text.write_text("not numbers")
    np.save(single, np.zeros(3))
    cut.write_bytes(small.read_bytes()[:2000])
    for path, message in (
        (text, "must be an .npz archive"),
        (single, "must be an .npz archive; got .*, one array"),
        (cut, "must be an .npz archive"),
        (tmp_path / "none.npz", "which is not there"),
        (tmp_path, "must be a file; got .*, a folder"),
    ):
        with pytest.raises(UserError, match=message):
            load_digits(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "/nowhere/x.npz"), "--data must be a file; got /nowhere/x.npz"),
        (("--save", "/nowhere/x.npz"), "the folder of --save must exist; got /nowhere/x.npz"),
        (("--plot", "picture.xyz"), "--plot must end in one of"),
        (("--learning-rate", "0"), "--learning-rate must be above 0; got 0.0"),
        (("--learning-rate", "nan"), "--learning-rate must be above 0; got nan"),
        (("--batch-size", "-4"), "--batch-size"),
        (("--batch-size", "4001"), "must not exceed the training digits; got 4001 for 4000"),
        (("--epochs", "0"), "--epochs"),
        (("--seed", "99999999999999999999"), "--seed"),
        (("--model", "rnn"), "rnn"),
        (("--epoch", "3"), "No such option"),
    ],
)
def test_mistakes_end_with_one_sentence_and_code_2(options, message, capsys):
    assert train(*options) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("jaxconv train: ") and told.count("\n") == 1


def test_unknown_commands_and_missing_packages_are_told(capsys, monkeypatch):
    assert main(["trian"]) == 2
    told = capsys.readouterr().err
    assert "the command must be one of " in told and "; got trian. " in told
    assert all(name in told for name in ("train", "bench", "explain", "lecture", "calibrate"))
    assert main(["--help"]) == 0
    assert "train" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "typer", None)
    assert main(["train"]) == 2
    assert "pip install 'jaxconv[cli]'" in capsys.readouterr().err
