"""A workflow that weighs a sentence and samples nothing."""

from __future__ import annotations

from typing import Any

REWEIGHT = "4"
"""The id of TextReweight."""


def reweighting_workflow(sentence: str = "a red heart moves right", **inputs: Any) -> dict:
    """TextReweight with the model that ships with the pack.

    Args:
        sentence: What is encoded.
        inputs: Of TextReweight, other than the defaults.
    """
    loader = {"file": "livephoto-shapes.safetensors", "motion_lora": "none", "lora_strength": 1.0}
    weighed = {
        "livephoto": ["2", 0],
        "positive": ["3", 0],
        "frames": 16,
        "overrides": "",
        "strength": 1.0,
        "text": "",
    }
    return {
        "1": {"class_type": "LivePhotoDemoModel", "inputs": {}},
        "2": {"class_type": "LivePhotoLoader", "inputs": loader},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": sentence, "clip": ["1", 1]}},
        REWEIGHT: {"class_type": "TextReweight", "inputs": weighed | inputs},
        "5": {"class_type": "PreviewAny", "inputs": {"source": [REWEIGHT, 0]}},
    }


def with_unknown_sentence(workflow: dict) -> dict:
    """The workflow with a node before TextReweight that hides the sentence."""
    whole = {"conditioning": ["3", 0], "start": 0.0, "end": 1.0}
    workflow["6"] = {"class_type": "ConditioningSetTimestepRange", "inputs": whole}
    workflow[REWEIGHT]["inputs"]["positive"] = ["6", 0]
    return workflow
