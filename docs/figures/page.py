"""The screenshots of docs/page.md: the service with any model that has an index, seen by Chromium.

    python docs/figures/page.py MODEL --detector YUNET.onnx [--out docs/figures]

Every face is drawn (`vlrface.images.procedural`): nobody is shown. The model is calibrated on drawn faces, so that the
scores hold for what is shown. It needs playwright and a Chromium of the system's.
"""

import argparse
import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy import ndarray
from playwright.sync_api import Page, sync_playwright

from vlrface.calibrate import fit_calibration
from vlrface.encode.served import ServedModel
from vlrface.experiment.served import load_served
from vlrface.experiment.serving import Listening, listening_socket
from vlrface.gallery import Gallery, NewFace
from vlrface.images.degrade import degradation_at, degrade
from vlrface.images.detect import Detector
from vlrface.images.procedural import procedural_faces
from vlrface.images.resize import resize
from vlrface.images.thumbnail import thumbnail
from vlrface.service import Reference, ServiceSettings, create_app
from vlrface.service.app import service_of

SEED = 11
"""Of people whom the network was not trained on."""
NAMES = (
    *("Alder", "Aspen", "Briar", "Cedar", "Clover", "Fern", "Hazel", "Heath", "Ivy", "Juniper", "Laurel", "Linden"),
    *("Maple", "Olive", "Rowan", "Sage", "Sorrel", "Willow"),
)
DESKTOP, PHONE = {"width": 1180, "height": 900}, {"width": 390, "height": 844}


def main() -> None:
    """Start the service, look at it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a checkpoint or an export with an index")
    parser.add_argument("--detector", type=Path, required=True, help="the .onnx file of YuNet")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = written(folder)
        with served(options.model, options.detector, folder) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium())
            try:
                for each in (look, look_dark, look_phone, compare, folder_view, people):
                    each(browser, address, pictures, options.out)
            finally:
                browser.close()


def look(browser: Any, address: str, pictures: dict[str, Any], out: Path) -> None:
    """A whole picture with faces near and far."""
    with page_of(browser, address, "look") as page:
        page.set_input_files("#look input[type=file]", pictures["board"])
        page.wait_for_selector(".card.face")
        shoot(page, out / "page-look.png", 1500)


def look_dark(browser: Any, address: str, pictures: dict[str, Any], out: Path) -> None:
    """Three answers that differ, in the dark."""
    with page_of(browser, address, "look", color_scheme="dark") as page:
        page.locator("#look .options input").first.uncheck()
        page.set_input_files("#look input[type=file]", pictures["answers"])
        page.wait_for_selector(".card.face")
        shoot(page, out / "page-dark.png", 2600)


def look_phone(browser: Any, address: str, pictures: dict[str, Any], out: Path) -> None:
    """One face in the hand."""
    phone = {"viewport": PHONE, "device_scale_factor": 1.5, "is_mobile": True, "has_touch": True}
    with page_of(browser, address, "look", **phone) as page:
        page.locator("#look .options input").first.uncheck()
        page.set_input_files("#look input[type=file]", pictures["answers"][:1])
        page.wait_for_selector(".card.face")
        shoot(page, out / "page-phone.png", 1200)


def compare(browser: Any, address: str, pictures: dict[str, Any], out: Path) -> None:
    """Two pictures of one person."""
    with page_of(browser, address, "compare") as page:
        page.locator("#compare .options input").uncheck()
        for slot, path in enumerate(pictures["pair"]):
            page.locator("#compare input[type=file]").nth(slot).set_input_files(path)
        page.wait_for_selector(".outcome")
        shoot(page, out / "page-compare.png", 1200)


def folder_view(browser: Any, address: str, pictures: dict[str, Any], out: Path) -> None:
    """Many crops and a threshold."""
    with page_of(browser, address, "folder") as page:
        page.locator("#folder input[type=file]").first.set_input_files(pictures["crops"])
        page.wait_for_selector(".board")
        shoot(page, out / "page-folder.png", 1500)


def people(browser: Any, address: str, pictures: dict[str, Any], out: Path) -> None:
    """Who is enrolled, and somebody about to be, twice."""
    with page_of(browser, address, "people") as page:
        page.get_by_label("Name", exact=True).fill("Rowan Tree")
        page.locator("#people .enrol .tick input").uncheck()
        page.locator("#people input[type=file]").set_input_files(pictures["again"])
        page.get_by_role("button", name="Enrol 3 pictures").click()
        page.wait_for_selector(".report")
        page.wait_for_timeout(800)
        shoot(page, out / "page-people.png", 1240)


def shoot(page: Page, path: Path, most: int) -> None:
    """The page from its top, at most so high, in few colours."""
    page.evaluate("document.activeElement.blur()")
    page.evaluate("window.scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)  # pictures and the gauge's movement
    size = page.viewport_size or DESKTOP
    height = min(most, page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": size["width"], "height": height})
    page.wait_for_timeout(300)
    page.screenshot(path=path)
    slim(path)
    print(f"{path} {path.stat().st_size / 1000:.0f} kB")


def slim(path: Path) -> None:
    """The same picture in 256 colours."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


@contextmanager
def page_of(browser: Any, address: str, view: str, **options: Any) -> Iterator[Page]:
    """The page, opened at a view."""
    context = browser.new_context(**{"viewport": DESKTOP, "device_scale_factor": 1, **options})
    page = context.new_page()
    page.goto(f"{address}/#{view}")
    page.wait_for_selector("[role=tab]")
    yield page
    context.close()


@contextmanager
def served(checkpoint: Path, detector: Path, folder: Path) -> Iterator[str]:
    """The service at an address, with a gallery of eighteen people."""
    import uvicorn

    model, reference, match = calibrated(load_served(checkpoint))
    settings = ServiceSettings(match=match, score=0.2, engine=str(model.meta["engine"]), reference=reference)
    gallery = Gallery.create(folder / "people.db", space=model.space, dim=model.encoder.embedding_dim,
                             model_name=model.name, keep_pictures=True)  # fmt: skip
    faces = portraits(len(NAMES), 3, SEED)
    for name, own in zip(NAMES, faces, strict=True):
        seen = model.look(list(own))
        gallery.enrol(name, [NewFace(seen.embeddings[i], float(seen.recognizability[i]), f"{i + 1}.png",
                                     thumbnail(own[i])) for i in range(3)], actor="setup")  # fmt: skip
    app = create_app(model, gallery, Detector(detector), settings)
    sock = listening_socket(Listening(port=0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    service_of(app).batcher.close()
    gallery.close()


def squares(people: int, views: int, seed: int) -> ndarray:
    """Drawn people: (people, views, 112, 112, 3)."""
    return procedural_faces(people, views, seed=seed).images.reshape(people, views, 112, 112, 3)


def portraits(people: int, views: int, seed: int) -> ndarray:
    """The same, cut as a detector's crops are (`images.detect.cut`)."""
    return squares(people, views, seed)[:, :, :, 14:98]


def calibrated(model: ServedModel) -> tuple[ServedModel, Reference, float]:
    """The model with scores that hold for drawn faces, faces to compare with, and a cosine that 1 in 100 pairs exceeds.

    Faces of 60 people, near and far, are searched among a clear one of each: how often is the best match right?
    """
    people, views = 60, 8
    near = portraits(people, 1 + views, SEED + 2)
    own = np.repeat(np.arange(people), views)
    far = [
        degrade(image, degradation_at((i * 0.618) % 1, i))
        for i, image in enumerate(near[:, 1:].reshape(-1, *near.shape[2:]))
    ]
    lost = model.look([degrade(image, degradation_at(0.95, i)) for i, image in enumerate(near[:, 1])]).recognizability
    clear, seen = model.look(list(near[:, 0])).embeddings, model.look(far)
    calibration = fit_calibration(
        seen.recognizability,
        (seen.embeddings @ clear.T).argmax(axis=1) == own,
        gallery_size=people,
        identities=own,
        unrecognizable_mean=float(lost.mean()),
        unrecognizable_deviation=float(lost.std()),
    )
    reference = Reference(*(np.sort(each.astype(np.float64)) for each in (seen.recognizability, lost)))
    match = float(np.quantile((clear @ clear.T)[np.triu_indices(people, 1)], 0.99))
    return replace(model, calibration=calibration), reference, round(match, 3)


def written(folder: Path) -> dict[str, Any]:
    """Files of all the pictures that are shown to the page."""
    known, whole = portraits(len(NAMES), 6, SEED)[:, 3:], squares(len(NAMES), 6, SEED)[:, 3:]
    stranger = portraits(1, 1, SEED + 5)[0, 0]
    crops = portraits(15, 4, SEED + 4).reshape(60, *known.shape[2:])
    far = [degrade(image, degradation_at((i * 0.618) % 1, i)) for i, image in enumerate(crops)]
    lost = degrade(known[2, 0], degradation_at(0.95, 3))

    def save(name: str, image: ndarray) -> Path:
        path = folder / f"{name}.png"
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return path

    return {
        "board": save("notice-board", board(whole)),
        "answers": [save("gate-07-15", known[1, 0]), save("gate-07-31", stranger), save("gate-22-04", lost)],
        "pair": [save("door", known[4, 0]), save("hall", degrade(known[4, 1], degradation_at(0.3, 2)))],
        "crops": [save(f"crop-{i:03d}", image) for i, image in enumerate(far)],
        "again": [save("badge", known[14, 0]), save("lobby", known[14, 1]), save("night", lost)],
    }


def board(known: ndarray) -> ndarray:
    """Photographs of people on a board, large and small."""
    height, width = 430, 1000
    shade = np.linspace(176, 140, height)[:, None, None] * np.array([1.0, 0.99, 0.965])
    whole = np.clip(np.repeat(shade, width, axis=1) + np.random.default_rng(3).normal(0, 2, (height, width, 1)), 0, 255)
    whole = whole.astype(np.uint8)
    for who, view, x, y, side, turn in [(1, 0, 180, 215, 240, -3), (4, 1, 435, 200, 170, 2), (12, 2, 630, 225, 112, -2),
                                        (2, 2, 780, 190, 72, 3), (17, 2, 900, 240, 44, 0)]:  # fmt: skip
        seen = max(14, side // 3) if side < 112 else side
        photograph = resize(resize(known[who, view], seen, seen), side, side)
        rim = max(3, side // 16)
        photograph = cv2.copyMakeBorder(photograph, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=(250, 250, 247))
        middle = photograph.shape[0] / 2
        place = cv2.getRotationMatrix2D((middle, middle), turn, 1)
        place[:, 2] += (x - middle, y - middle)
        cv2.warpAffine(photograph, place, (width, height), dst=whole, borderMode=cv2.BORDER_TRANSPARENT)
    return whole


def chromium() -> str:
    """The system's."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise SystemExit("no Chromium: install one (apt install chromium)")


if __name__ == "__main__":
    main()
