"""Measure the toy model through a real llama.cpp server: `python -m toy_model.evaluate`.

Prints each goal with what was reached. All answers are greedy. With `--hf DIR` the same questions
go through transformers, too, and the answers are compared.
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

from toy_model import questions as texts
from toy_model import scenes as data
from toy_model.companions import DEMO, MMPROJ_FILE, TEXT_FILE
from toy_model.served_model import MAX_TOKENS, Ask, Model, answering, as_jpeg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL import Image

SCENES = 200
AGREEMENTS = 50
_EDGES = (256, 320, 512, 640, 1024)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure and the goal it stands against."""

    name: str
    reached: str
    goal: str = ""


def scene_figures(model: Model) -> list[Figure]:
    """Ask the default profile's caption of held-out scenes, and compare what it names."""
    prompt = texts.profiles()["default"].prompts["caption"]
    right = dict.fromkeys(("background", "colour", "shape", "size", "position", "all"), 0)
    for number, scene in enumerate(data.held_out_scenes(SCENES)):
        picture = data.scene_picture(scene, _EDGES[number % len(_EDGES)], seed=number)
        caption = model.answer(Ask(prompt=prompt, picture=picture))
        for name in right:
            right[name] += _names(caption, scene, name)
    goals = {"background": "95", "colour": "95", "shape": "90", "all": "80"}
    return [
        Figure(name=f"scenes: {name}", reached=_share(count, SCENES), goal=goals.get(name, ""))
        for name, count in right.items()
    ]


def _names(caption: str, scene: data.Scene, name: str) -> bool:
    wanted = texts.scene_texts(scene).caption
    if name == "all":
        return caption == wanted
    pattern = {
        "background": f"{scene.background} background",
        "colour": f"{scene.colour} {'{shape}'}",
        "shape": f" {scene.shape} ",
        "size": f" {scene.size} ",
        "position": wanted.rpartition(", ")[2],
    }[name]
    if name == "colour":
        return any(pattern.replace("{shape}", shape) in caption for shape in data.SHAPES)
    return pattern in caption


def question_figures(model: Model) -> list[Figure]:
    """Ask one-word questions in wordings that training never used."""
    scenes = data.held_out_scenes(SCENES)
    figures = []
    for stage in texts.QUESTIONS:
        asked = texts.wordings()[stage]["held_out"]
        right = 0
        for number, scene in enumerate(scenes[:50]):
            picture = data.scene_picture(scene, 256, seed=number)
            said = model.answer(Ask(prompt=asked[number % len(asked)], picture=picture))
            right += said == texts.scene_texts(scene).words[stage]
        figures.append(Figure(name=f"one word: {stage}", reached=_share(right, 50)))
    return figures


def sample_figures(model: Model) -> list[Figure]:
    """Caption the sample pictures as they are, rescaled, recompressed and cropped."""
    prompt = texts.profiles()["default"].prompts["caption"]
    figures = []
    for name, change in _CHANGES.items():
        right, wrong = 0, []
        for sample in data.samples():
            picture = change(data.load_picture(data.SAMPLE_FOLDER / sample.name))
            named = sample.subject in model.answer(Ask(prompt=prompt, picture=picture)).lower()
            right += named
            wrong += [] if named else [sample.name]
        reached = " ".join([f"{right} of 13", *wrong])
        figures.append(Figure(name=f"samples: {name}", reached=reached, goal="13 of 13"))
    return figures


def _scaled(picture: Image.Image, edge: int) -> Image.Image:
    factor = edge / max(picture.size)
    return picture.resize((round(picture.width * factor), round(picture.height * factor)))


def _without(picture: Image.Image, left: float, top: float) -> Image.Image:
    across, down = picture.width * 0.05, picture.height * 0.05
    right, bottom = picture.width - across * (1 - left), picture.height - down * (1 - top)
    return picture.crop((round(across * left), round(down * top), round(right), round(bottom)))


_CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "plain": lambda picture: picture,
    "rescaled to 512": lambda picture: _scaled(picture, 512),
    "rescaled to 200": lambda picture: _scaled(picture, 200),
    "recompressed at 40": lambda picture: as_jpeg(picture, 40),
    "cropped 5% around": lambda picture: _without(picture, 0.5, 0.5),
    "cropped 5% left and top": lambda picture: _without(picture, 1, 1),
    "cropped 5% right and bottom": lambda picture: _without(picture, 0, 0),
}


def wording_figures(model: Model) -> list[Figure]:
    """Ask for each stage in wordings that training never used, in every arrangement."""
    figures = []
    asks, answers = _mixed_asks(texts.STAGES, 72)
    for stage in texts.STAGES:
        chosen = [pair for pair in zip(asks, answers, strict=True) if pair[1][0] == stage]
        right = sum(model.answer(ask) == answer for ask, (_, answer) in chosen)
        figures.append(Figure(name=f"free wording: {stage}", reached=_share(right, len(chosen))))
    return figures


def _mixed_asks(stages: Sequence[str], count: int) -> tuple[list[Ask], list[tuple[str, str]]]:
    """Return asks about scenes and samples in held-out wordings, each with its stage and answer."""
    rng = np.random.default_rng(31)
    scenes, samples = iter(data.held_out_scenes(count, seed=77)), data.samples()
    asks, answers = [], []
    for number in range(count):
        stage = stages[number % len(stages)]
        if stage in texts.QUESTIONS or data.chance(rng, 0.5):
            scene = next(scenes)
            picture, about = data.scene_picture(scene, 320, seed=number), texts.scene_texts(scene)
        else:
            sample = samples[rng.integers(len(samples))]
            picture = data.load_picture(data.SAMPLE_FOLDER / sample.name)
            about = texts.sample_texts(sample)
        prompts = texts.wordings()[stage]["held_out"]
        prompt = texts.filled(prompts[rng.integers(len(prompts))], about)
        system = texts.wordings()["system"]["held_out"][0] if data.chance(rng, 0.5) else None
        first = data.chance(rng, 0.5)
        asks.append(Ask(prompt=prompt, picture=picture, system=system, picture_first=first))
        answers.append((stage, about.answer(stage, prompt)))
    return asks, answers


def profile_figures(model: Model) -> list[Figure]:
    """Run the plugin's three profiles over the sample pictures, as the plugin chains the stages."""
    figures = []
    for name, profile in texts.profiles().items():
        right = parsed = 0
        for sample in data.samples():
            about = texts.sample_texts(sample)
            said = _tagging(model, profile, data.load_picture(data.SAMPLE_FOLDER / sample.name))
            right += sum(
                answer == about.answer(stage, profile.prompts[stage]) for stage, answer in said.items()
            )
            parsed += bool(_parsed(said["keywords"]))
        figures.append(Figure(name=f"profile {name}: word for word", reached=f"{right} of 39"))
        figures.append(Figure(name=f"profile {name}: keywords parse", reached=f"{parsed} of 13"))
    return figures


def _tagging(model: Model, profile: texts.Profile, picture: Image.Image) -> dict[str, str]:
    """Ask for the three stages, the description with the caption and keywords just given."""
    said: dict[str, str] = {}
    for stage in texts.STAGES:
        context = texts.Texts(
            caption=said.get("caption", ""),
            keywords=_parsed(said.get("keywords", "")),
            description="",
        )
        prompt = texts.filled(profile.prompts[stage], context)
        said[stage] = model.answer(Ask(prompt=prompt, picture=picture, system=profile.system))
    return said


def _parsed(text: str) -> tuple[str, ...]:
    """Return the keywords of an answer, or none if they are not distinct words in JSON."""
    try:
        keywords = json.loads(text)["keywords"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(keywords) if len(keywords) == len(set(keywords)) else ()


def context_figures(model: Model) -> list[Figure]:
    """Describe each sample picture with the caption and keywords of another one."""
    prompt = texts.profiles()["default"].prompts["description"]
    samples, right = data.samples(), 0
    for sample, other in zip(samples, [*samples[1:], samples[0]], strict=True):
        picture = data.load_picture(data.SAMPLE_FOLDER / sample.name)
        wrong = texts.filled(prompt, texts.sample_texts(other))
        right += model.answer(Ask(prompt=wrong, picture=picture)) == sample.description
    return [Figure(name="description with another's caption", reached=f"{right} of 13")]


def speed_figures(pair: Path) -> list[Figure]:
    """Time the first answer from the start of the server, and every stage after it."""
    profile = texts.profiles()["default"]
    pictures = [data.load_picture(data.SAMPLE_FOLDER / sample.name) for sample in data.samples()]
    about = [texts.sample_texts(sample) for sample in data.samples()]
    start = time.perf_counter()
    with answering(pair) as model:
        model.answer(Ask(prompt=profile.prompts["caption"], picture=pictures[0]))
        first = time.perf_counter() - start
        figures = [Figure(name="first answer after start", reached=f"{first:.2f} s", goal="2 s")]
        for stage in texts.STAGES:
            model.seconds.clear()
            for picture, words in zip(pictures, about, strict=True):
                model.answer(Ask(prompt=texts.filled(profile.prompts[stage], words), picture=picture))
            middle, longest = statistics.median(model.seconds), max(model.seconds)
            reached = f"{middle:.3f} s, at most {longest:.3f} s"
            figures.append(Figure(name=f"{stage}: median of 13", reached=reached, goal="0.3 s"))
    return figures


def size_figures(pair: Path) -> list[Figure]:
    """Add up the files of the pair."""
    size = sum((pair / name).stat().st_size for name in (TEXT_FILE, MMPROJ_FILE))
    return [Figure(name="GGUF pair", reached=f"{size / 1e6:.2f} MB", goal="4 MB")]


def agreement_figures(model: Model, folder: Path) -> list[Figure]:
    """Ask transformers and llama.cpp the same, in the plugin's prompts and in free wordings."""
    asks, _ = _mixed_asks((*texts.STAGES, "background"), AGREEMENTS // 2)
    asks += _profile_asks()
    theirs = _transformers_answers(asks, folder)
    same = sum(model.answer(ask) == said for ask, said in zip(asks, theirs, strict=True))
    goal = f"45 of {AGREEMENTS}"
    return [Figure(name="same text through transformers", reached=f"{same} of {len(asks)}", goal=goal)]


def _profile_asks() -> list[Ask]:
    rng = np.random.default_rng(5)
    asks = []
    for number, scene in enumerate(data.held_out_scenes(AGREEMENTS // 2, seed=99)):
        profile = list(texts.profiles().values())[number % 3]
        if number % 2:
            sample = data.samples()[rng.integers(13)]
            picture = data.load_picture(data.SAMPLE_FOLDER / sample.name)
            about = texts.sample_texts(sample)
        else:
            picture, about = data.scene_picture(scene, 512), texts.scene_texts(scene)
        prompt = texts.filled(profile.prompts[texts.STAGES[number // 3 % 3]], about)
        asks.append(Ask(prompt=prompt, picture=picture, system=profile.system))
    return asks


def _transformers_answers(asks: Sequence[Ask], folder: Path) -> list[str]:
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    processor: Any = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call] # theirs
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    answers = []
    for ask in asks:
        messages = ask.messages(lambda _: {"type": "image"})
        prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
        shown = as_jpeg(ask.picture) if ask.picture else None
        inputs = processor(images=shown, text=prompt, return_tensors="pt")
        ids = model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        answer = ids[0, inputs["input_ids"].shape[1] :]
        answers.append(str(processor.decode(answer, skip_special_tokens=True)))
    return answers


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} in 100"


def evaluate(pair: Path, folder: Path | None) -> Iterator[Figure]:
    """Measure everything, figure by figure."""
    yield from size_figures(pair)
    yield from speed_figures(pair)
    with answering(pair) as model:
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
    parser.add_argument("--pair", type=Path, default=DEMO, help="folder of the GGUF pair")
    parser.add_argument("--hf", type=Path, help="exported hf folder, to compare with transformers")
    arguments = parser.parse_args()
    print("| figure | reached | goal |\n|---|---|---|")
    for figure in evaluate(arguments.pair, arguments.hf):
        print(f"| {figure.name} | {figure.reached} | {figure.goal} |", flush=True)


if __name__ == "__main__":
    main()
