"""Measure the toy model in a real llama.cpp server: `python -m toy_model.evaluate`.

Prints each figure beside its goal. All answers are greedy. With `--hf DIR` transformers answers some
of the same requests, and the answers are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toy_model.answers import STAGES, Answers, sample_answers, scene_answers
from toy_model.companions import MMPROJ_FILE, PACKAGED_PAIR, TEXT_FILE
from toy_model.questions import filled, profiles, stage_prompt, wordings
from toy_model.sample_pictures import sample_pictures
from toy_model.scenes import ATTRIBUTES, SHAPES, held_out_scenes, scene_picture
from toy_model.served_model import MAX_TOKENS, ChatRequest, as_jpeg, serve_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL import Image

    from pytest_setups.tagging.prompts import Prompts
    from toy_model.scenes import Scene
    from toy_model.served_model import ServedModel

SCENES = 200
QUESTIONED_SCENES = 50
COMPARED_ANSWERS = 50
_EDGES = (256, 320, 512, 640, 1024)
"""Longest edges of the pictures of scenes, in pixels, taken in turn."""


@dataclass(frozen=True, kw_only=True)
class EvaluationFigure:
    """A measured figure and its goal, as the table shows them."""

    name: str
    reached: str
    goal: str = ""


def scene_figures(model: ServedModel) -> list[EvaluationFigure]:
    """What the captions of held-out scenes name correctly, asked with the prompt of the default profile."""
    prompt = profiles()["default"].caption
    right = dict.fromkeys((*ATTRIBUTES, "all"), 0)
    for number, scene in enumerate(held_out_scenes(SCENES)):
        picture = scene_picture(scene, _EDGES[number % len(_EDGES)], seed=number)
        caption = model.answer(ChatRequest(prompt=prompt, picture=picture))
        for name in right:
            right[name] += _names(caption, scene, name)
    goals = {"background": "95", "colour": "95", "shape": "90", "all": "80"}
    return [
        EvaluationFigure(name=f"scenes: {name}", reached=_share(count, SCENES), goal=goals.get(name, ""))
        for name, count in right.items()
    ]


def _names(caption: str, scene: Scene, name: str) -> bool:
    """Whether `caption` is right about the attribute `name` of `scene`, or word for word for "all"."""
    wanted = scene_answers(scene).caption
    if name == "all":
        return caption == wanted
    phrases = {
        "background": [f"{scene.background} background"],
        "colour": [f"{scene.colour} {shape}" for shape in SHAPES],
        "shape": [f" {scene.shape} "],
        "size": [f" {scene.size} "],
        "position": [wanted.rpartition(", ")[2]],
    }
    return any(phrase in caption for phrase in phrases[name])


def question_figures(model: ServedModel) -> list[EvaluationFigure]:
    """One-word questions about held-out scenes, in wordings that training never used."""
    scenes = held_out_scenes(SCENES)
    figures = []
    for attribute in ATTRIBUTES:
        prompts = wordings()[attribute]["held_out"]
        right = 0
        for number, scene in enumerate(scenes[:QUESTIONED_SCENES]):
            picture = scene_picture(scene, 256, seed=number)
            answer = model.answer(ChatRequest(prompt=prompts[number % len(prompts)], picture=picture))
            right += answer == scene_answers(scene).words[attribute]
        reached = _share(right, QUESTIONED_SCENES)
        figures.append(EvaluationFigure(name=f"one word: {attribute}", reached=reached))
    return figures


def sample_figures(model: ServedModel) -> list[EvaluationFigure]:
    """Captions of the sample pictures as they are, rescaled, recompressed and cropped."""
    prompt = profiles()["default"].caption
    figures = []
    for name, change in _CHANGES.items():
        right, wrong = 0, []
        for sample in sample_pictures():
            picture = change(sample.load())
            named = sample.subject in model.answer(ChatRequest(prompt=prompt, picture=picture)).lower()
            right += named
            wrong += [] if named else [sample.name]
        reached = " ".join([f"{right} of 13", *wrong])
        figures.append(EvaluationFigure(name=f"samples: {name}", reached=reached, goal="13 of 13"))
    return figures


def _scaled(picture: Image.Image, edge: int) -> Image.Image:
    factor = edge / max(picture.size)
    return picture.resize((round(picture.width * factor), round(picture.height * factor)))


def _cropped(picture: Image.Image, left: float, top: float) -> Image.Image:
    """`picture` without 5 % of its width and height, of which `left` and `top` are the shares cut there."""
    across, down = picture.width * 0.05, picture.height * 0.05
    right, bottom = picture.width - across * (1 - left), picture.height - down * (1 - top)
    return picture.crop((round(across * left), round(down * top), round(right), round(bottom)))


_CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "plain": lambda picture: picture,
    "rescaled to 512": lambda picture: _scaled(picture, 512),
    "rescaled to 200": lambda picture: _scaled(picture, 200),
    "recompressed at 40": lambda picture: as_jpeg(picture, 40),
    "cropped 5% around": lambda picture: _cropped(picture, 0.5, 0.5),
    "cropped 5% left and top": lambda picture: _cropped(picture, 1, 1),
    "cropped 5% right and bottom": lambda picture: _cropped(picture, 0, 0),
}


def wording_figures(model: ServedModel) -> list[EvaluationFigure]:
    """The three stages in wordings that training never used, with and without a system message."""
    figures = []
    cases = _held_out_cases(STAGES, 72)
    for stage in STAGES:
        chosen = [case for case in cases if case.topic == stage]
        right = sum(model.answer(case.request) == case.answer for case in chosen)
        figures.append(EvaluationFigure(name=f"free wording: {stage}", reached=_share(right, len(chosen))))
    return figures


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A request on a topic with its right answer."""

    request: ChatRequest
    topic: str
    answer: str


def _held_out_cases(topics: Sequence[str], count: int) -> list[_Case]:
    """`count` requests about scenes and sample pictures in held-out wordings; their topics take turns."""
    rng = np.random.default_rng(31)
    scenes, samples = iter(held_out_scenes(count, seed=77)), sample_pictures()
    cases = []
    for number in range(count):
        topic = topics[number % len(topics)]
        if topic in ATTRIBUTES or rng.random() < 0.5:
            scene = next(scenes)
            picture, about = scene_picture(scene, 320, seed=number), scene_answers(scene)
        else:
            sample = samples[rng.integers(len(samples))]
            picture, about = sample.load(), sample_answers(sample)
        prompts = wordings()[topic]["held_out"]
        prompt = filled(prompts[rng.integers(len(prompts))], about)
        system = wordings()["system"]["held_out"][0] if rng.random() < 0.5 else None
        request = ChatRequest(prompt=prompt, picture=picture, system=system, picture_first=rng.random() < 0.5)
        cases.append(_Case(request=request, topic=topic, answer=about.answer(topic, prompt)))
    return cases


def profile_figures(model: ServedModel) -> list[EvaluationFigure]:
    """The plugin's three profiles on the sample pictures, with the stages chained as in the plugin."""
    figures = []
    for name, profile in profiles().items():
        right = parsed = 0
        for sample in sample_pictures():
            about = sample_answers(sample)
            outputs = _outputs(model, profile, sample.load())
            right += sum(
                output == about.answer(stage, stage_prompt(profile, stage))
                for stage, output in outputs.items()
            )
            parsed += bool(_parsed(outputs["keywords"]))
        figures.append(EvaluationFigure(name=f"profile {name}: word for word", reached=f"{right} of 39"))
        figures.append(EvaluationFigure(name=f"profile {name}: keywords parse", reached=f"{parsed} of 13"))
    return figures


def _outputs(model: ServedModel, profile: Prompts, picture: Image.Image) -> dict[str, str]:
    """The answers to the three stages; the description is given the caption and keywords before it."""
    outputs: dict[str, str] = {}
    for stage in STAGES:
        context = Answers(
            caption=outputs.get("caption", ""),
            keywords=_parsed(outputs.get("keywords", "")),
            description="",
        )
        prompt = filled(stage_prompt(profile, stage), context)
        outputs[stage] = model.answer(ChatRequest(prompt=prompt, picture=picture, system=profile.system))
    return outputs


def _parsed(text: str) -> tuple[str, ...]:
    """The keywords of an answer, or none if they are not distinct words in JSON."""
    try:
        keywords = json.loads(text)["keywords"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(keywords) if len(keywords) == len(set(keywords)) else ()


def context_figures(model: ServedModel) -> list[EvaluationFigure]:
    """Descriptions of the sample pictures when the prompt gives the caption and keywords of another one."""
    prompt = profiles()["default"].description
    samples, right = sample_pictures(), 0
    for sample, other in zip(samples, [*samples[1:], samples[0]], strict=True):
        picture = sample.load()
        wrong = filled(prompt, sample_answers(other))
        right += model.answer(ChatRequest(prompt=wrong, picture=picture)) == sample.description
    return [EvaluationFigure(name="description with another's caption", reached=f"{right} of 13")]


def speed_figures(pair: Path) -> list[EvaluationFigure]:
    """Seconds from starting the server to its first answer, and of the answers to every stage."""
    profile = profiles()["default"]
    pictures = [sample.load() for sample in sample_pictures()]
    about = [sample_answers(sample) for sample in sample_pictures()]
    start = time.perf_counter()
    with serve_model(pair) as model:
        model.answer(ChatRequest(prompt=profile.caption, picture=pictures[0]))
        first = time.perf_counter() - start
        figures = [EvaluationFigure(name="first answer after start", reached=f"{first:.2f} s", goal="2 s")]
        for stage in STAGES:
            model.seconds.clear()
            for picture, answers in zip(pictures, about, strict=True):
                prompt = filled(stage_prompt(profile, stage), answers)
                model.answer(ChatRequest(prompt=prompt, picture=picture))
            middle, longest = statistics.median(model.seconds), max(model.seconds)
            reached = f"{middle:.3f} s, at most {longest:.3f} s"
            figures.append(EvaluationFigure(name=f"{stage}: median of 13", reached=reached, goal="0.3 s"))
    return figures


def size_figures(pair: Path) -> list[EvaluationFigure]:
    """The size of both files of the pair."""
    size = sum((pair / name).stat().st_size for name in (TEXT_FILE, MMPROJ_FILE))
    return [EvaluationFigure(name="GGUF pair", reached=f"{size / 1e6:.2f} MB", goal="4 MB")]


def agreement_figures(model: ServedModel, folder: Path) -> list[EvaluationFigure]:
    """How often transformers gives the same answer as llama.cpp; `folder` is the exported hf folder."""
    cases = _held_out_cases((*STAGES, "background"), COMPARED_ANSWERS // 2)
    requests = [*(case.request for case in cases), *_profile_requests()]
    answers = _transformers_answers(requests, folder)
    same = sum(model.answer(request) == answer for request, answer in zip(requests, answers, strict=True))
    reached, goal = f"{same} of {len(requests)}", f"45 of {COMPARED_ANSWERS}"
    return [EvaluationFigure(name="same text through transformers", reached=reached, goal=goal)]


def _profile_requests() -> list[ChatRequest]:
    rng = np.random.default_rng(5)
    requests = []
    for number, scene in enumerate(held_out_scenes(COMPARED_ANSWERS // 2, seed=99)):
        profile = list(profiles().values())[number % 3]
        if number % 2:
            sample = sample_pictures()[rng.integers(13)]
            picture, about = sample.load(), sample_answers(sample)
        else:
            picture, about = scene_picture(scene, 512), scene_answers(scene)
        prompt = filled(stage_prompt(profile, STAGES[number // 3 % 3]), about)
        requests.append(ChatRequest(prompt=prompt, picture=picture, system=profile.system))
    return requests


def _transformers_answers(requests: Sequence[ChatRequest], folder: Path) -> list[str]:
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    processor: Any = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call] # transformers
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    answers = []
    for request in requests:
        messages = request.messages(lambda _: {"type": "image"})
        prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
        shown = as_jpeg(request.picture) if request.picture else None
        inputs = processor(images=shown, text=prompt, return_tensors="pt")
        ids = model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        answer = ids[0, inputs["input_ids"].shape[1] :]
        answers.append(str(processor.decode(answer, skip_special_tokens=True)))
    return answers


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} in 100"


def evaluate(pair: Path, folder: Path | None) -> Iterator[EvaluationFigure]:
    """Every figure as soon as it is measured.

    Args:
        pair: folder of the GGUF pair.
        folder: the exported hf folder of the same weights, or None to leave transformers out.
    """
    yield from size_figures(pair)
    yield from speed_figures(pair)
    with serve_model(pair) as model:
        for part in (
            scene_figures,
            sample_figures,
            profile_figures,
            context_figures,
            wording_figures,
            question_figures,
        ):
            yield from part(model)
        if folder:
            yield from agreement_figures(model, folder)


def main() -> None:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m toy_model.evaluate", description=__doc__)
    parser.add_argument("--pair", type=Path, default=PACKAGED_PAIR, help="folder of the GGUF pair")
    parser.add_argument("--hf", type=Path, help="exported hf folder, to compare with transformers")
    arguments = parser.parse_args()
    print("| figure | reached | goal |\n|---|---|---|")
    for figure in evaluate(arguments.pair, arguments.hf):
        print(f"| {figure.name} | {figure.reached} | {figure.goal} |", flush=True)


if __name__ == "__main__":
    main()
