"""The shipped weights do what the model card says, on a part of its benchmark."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.environment import prepare
from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.shapes.__main__ import main
from livephoto_core.shapes.base_model import BASE_MODEL_PATH, PARTS, open_base_model
from livephoto_core.shapes.benchmark import make_questions, score
from livephoto_core.shapes.evaluation import EvaluationOptions, evaluate
from livephoto_core.shapes.shipped import LIVEPHOTO_PATH

MAX_BYTES = 40e6
README = Path(__file__).parents[2] / "README.md"
MODEL_CARD = BASE_MODEL_PATH.parent / "MODEL_CARD.md"


def test_weights_are_small_and_say_how_they_were_made():
    assert BASE_MODEL_PATH.stat().st_size + LIVEPHOTO_PATH.stat().st_size < MAX_BYTES
    base = json.loads(open_base_model(BASE_MODEL_PATH).metadata["training"])
    steps = {"autoencoder", "decoder", "content_encoder", "text_to_image"}
    assert base.keys() == steps
    for record in (
        *base.values(),
        json.loads(read_checkpoint(LIVEPHOTO_PATH).metadata["training"]),
    ):
        assert "-m livephoto_core." in record["command"]
        assert record["seconds"] > 0 and "seed" in record
    assert set(PARTS) == {
        name.split(".")[0] for name in open_base_model(BASE_MODEL_PATH).file.tensors
    }


@pytest.mark.parametrize("document", [README, MODEL_CARD], ids=["README", "model card"])
def test_documents_have_the_figures_of_the_shipped_file(document):
    metadata = read_checkpoint(LIVEPHOTO_PATH).metadata
    figures, asked = json.loads(metadata["figures"]), json.loads(metadata["evaluation"])["counts"]
    worst, lowest = min(figures["motion_accuracy_of"].items(), key=lambda item: item[1])
    told = asked["motion"] + asked["level"]
    questions = make_questions("level", asked["level"], edges=(), size_px=64)
    moving = sum(question.scene.motion != "still" for question in questions)
    rows = {
        "motion follows": f"{figures['motion_accuracy']:.0%} of {asked['motion']} clips",
        "in the worst kind": f"{lowest:.0%} ({worst.replace('_', ' ')})",
        "at a level drawn at random": (
            f"{figures['level_motion_accuracy']:.0%} of {asked['level']} clips"
        ),
        "within each motion": f"{figures['level_correlation_within_motions']:.2f}",
        "with the text dropped": (
            f"{figures['without_text_accuracy']:.0%} of {asked['without_text']} clips"
        ),
        "Spearman": f"{figures['level_correlation']:.2f} over {moving} clips",
        "level 1": f"{figures['level_1_ssim']:.3f}, {figures['level_1_measured']:.0f}",
        "first frame": f"{figures['first_frame_psnr_db']:.1f} dB",
        "shape and colour kept": (
            f"{figures['identity']:.0%} of {told} clips "
            f"(shape {100 * figures['shape_kept']:.0f} %, "
            f"colour {100 * figures['colour_kept']:.0f} %)"
        ),
    }
    table = [line for line in document.read_text("utf-8").splitlines() if line.startswith("| ")]
    for what, measured in rows.items():
        assert [line for line in table if what in line and f"| {measured} |" in line], what


def test_autoencoder_leaves_true_clips_what_is_measured_in_them(capsys):
    comfyui = ["--comfyui", str(prepare().comfyui)]
    assert main(["ceiling", "--motion", "32", *comfyui]) == 0
    clean = shown_figures(capsys)
    assert clean["motion_accuracy"] >= 0.95
    assert clean["identity"] >= 0.95
    assert clean["first_frame_psnr_db"] > 30
    assert main(["ceiling", "--motion", "8", "--noise", "2", *comfyui]) == 0
    assert shown_figures(capsys)["first_frame_psnr_db"] < clean["first_frame_psnr_db"] - 5


def shown_figures(capsys):
    found = re.findall(r"^(\w+): ([\d.]+)$", capsys.readouterr().out, re.MULTILINE)
    return {name: float(value) for name, value in found}


@pytest.fixture(scope="module")
def figures():
    options = EvaluationOptions(
        base=BASE_MODEL_PATH,
        livephoto=LIVEPHOTO_PATH,
        counts={"motion": 32, "level": 16},
        num_steps=12,
        sampler="euler_ancestral",  # The bounds below are of this one.
        comfyui=prepare().comfyui,
    )
    return score(evaluate(options))


# As shipped, and how far other pictures and other noise scatter it: the standard deviation over
# bootstrap samples of these questions; of motion and identity, right in all of these, that
# of as many questions at 98 and 96 %; of the level less than its 0.027, so that it falls no lower
# than the models before might. A new model gets new figures.
SHIPPED = {
    "motion_accuracy": (1.000, 0.024),
    "level_correlation": (0.976, 0.017),
    "identity": (1.000, 0.028),
    "first_frame_psnr_db": (33.738, 0.259),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_figure_has_not_dropped_by_more_than_it_scatters(figures, name):
    shipped, spread = SHIPPED[name]
    assert figures[name] >= shipped - spread
