"""A browser walks through all that the page can do: by mouse and keyboard, on a phone, in the dark, with keys."""

import csv
import io
from dataclasses import replace

import cv2
import httpx
import numpy as np
import pytest

from vlrface.metrics.operating import Point
from vlrface.service import create_key

from .browsing import CHROMIUM, Visit, running
from .conftest import TLS
from .made import MadeModel, destroyed, made_app, mosaic, people, png

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt install chromium)")

FACES = people()
CLIENT = httpx.Client(timeout=30, verify=TLS)
MIDDLING = cv2.GaussianBlur(FACES[2, 0], (0, 0), 1.5)
LOST = destroyed(FACES[0, 0])
STRANGER = FACES[5, 0]
LOOK, FOLDER, PEOPLE = (
    "#look input[type=file]",
    "#folder input[type=file]:not([webkitdirectory])",
    "#people input[type=file]",
)


@pytest.fixture(scope="module", autouse=True)
def client_closed():
    yield
    CLIENT.close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=camera)
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A service with everything, without keys, that knows four people."""
    with running(made_app(tmp_path_factory.mktemp("page"))) as where:
        for i in range(4):
            files = [("files", (f"{k}.png", png(FACES[i, k]))) for k in range(2)]
            CLIENT.post(f"{where}/v1/people/Person {i}/faces", files=files).raise_for_status()
        yield where


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """A service with keys: its address, and a key of each role."""
    folder = tmp_path_factory.mktemp("keyed")
    keys = {role: create_key(folder / "keys.json", role) for role in ("read", "enrol", "admin")}
    with running(made_app(folder, keys=folder / "keys.json", hosts=())) as where:
        files = [("files", ("a.png", png(FACES[0, 0])))]
        headers = {"Authorization": f"Bearer {keys['admin']}"}
        CLIENT.post(f"{where}/v1/people/Ada/faces", files=files, headers=headers).raise_for_status()
        yield where, keys


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A service without gallery, detector, calibration, reference and attention."""
    model = MadeModel(calibration=None, has_attention=False)
    app = made_app(
        tmp_path_factory.mktemp("bare"), model=model, gallery=False, detector=False, score=None, reference=None
    )
    with running(app) as where:
        yield where


@pytest.fixture
def visit(browser):
    """Open the page; in the end nothing may have gone wrong but loads of the `expected` statuses."""
    opened = []

    def open_page(address, *, expected=(), **options):
        opened.append((Visit(browser, address, **options), expected))
        return opened[-1][0]

    yield open_page
    for each, expected in opened:
        each.close(expected)


def test_three_answers_that_do_not_look_alike(visit, address):
    at = visit(address)
    page = at.page
    page.get_by_label("Find the faces").first.uncheck()
    at.give(LOOK, FACES[1, 2], STRANGER, LOST)
    page.wait_for_selector("#look .card.face >> nth=2")
    assert page.locator("#look .card h3").all_inner_texts() == ["0.png", "1.png", "2.png"]
    answers = page.locator("#look .answer")
    assert [answers.nth(i).locator("h4").inner_text() for i in range(3)] == ["May be", "Unknown", "Not recognizable"]
    assert page.locator(".candidates b").first.inner_text() == "Person 1"
    page.wait_for_selector(".candidates .kept img")
    reasons = page.locator("#look .answer .reason").all_inner_texts()
    assert "at least the threshold 0.900" in reasons[0]
    assert "below the threshold 0.900" in reasons[1]
    assert "below the least of 0.10" in reasons[2]
    looks = {
        page.evaluate(
            "(e) => { const s = getComputedStyle(e); return s.backgroundImage + s.backgroundColor + s.borderStyle }",
            each,
        )
        for each in answers.element_handles()
    }
    assert len(looks) == 3
    expect(page.locator("#status")).to_contain_text("3 faces: 1 candidates")


def test_a_whole_picture_has_numbered_faces(visit, address):
    at = visit(address)
    page = at.page
    at.give(LOOK, mosaic([FACES[0, 0], FACES[1, 0], STRANGER, LOST]))
    page.wait_for_selector(".boxed .number >> nth=3")
    assert page.locator(".boxed .number").all_inner_texts() == ["1", "2", "3", "4"]
    assert page.locator("#look .card h3").all_inner_texts() == [f"Face {i}" for i in (1, 2, 3, 4)]
    first, second = (page.locator(".boxed .number").nth(i).bounding_box() for i in (0, 1))
    assert second["x"] - first["x"] == pytest.approx(page.locator(".boxed img").bounding_box()["width"] / 3, abs=3)
    page.get_by_role("button", name="Go to face 3").click()
    assert page.evaluate("document.activeElement.querySelector('h3').textContent") == "Face 3"
    page.mouse.move(0, 0)
    expect(page.locator(".boxed rect").nth(2)).to_have_class("pointed")
    page.locator("#look .card").nth(1).hover()
    expect(page.locator(".boxed rect").nth(1)).to_have_class("pointed")


def test_a_card_tells_score_verdict_place_and_attention(visit, address):
    at = visit(address)
    page = at.page
    page.get_by_label("Search among 4 people").uncheck()
    at.give(LOOK, MIDDLING)
    card = page.locator("#look .card.face")
    files = [("files", ("0.png", png(MIDDLING)))]
    face = CLIENT.post(f"{address}/v1/score?detect=true", files=files).json()["faces"][0]
    assert card.locator(".verdict").inner_text().lower() == face["verdict"]
    assert card.locator(".gauge .figure").text_content() == f"{round(100 * face['score'])} %"
    assert (
        f"among 100 faces, its best match is right with a probability of {round(100 * face['score'])} %"
        in card.inner_text()
    )
    assert face["place"] == 0
    assert "Below all 18 reference faces" in card.inner_text()
    assert card.locator(".histogram .bar").count() == 80
    assert card.locator(".answer").count() == 0  # nobody asked for a search
    toggle = card.get_by_role("button", name="Attention")
    lit = card.locator(".lit")
    assert lit.is_hidden()
    toggle.press("Enter")
    assert lit.is_visible()
    assert toggle.get_attribute("aria-pressed") == "true"
    alphas = page.evaluate(
        "(c) => [...c.getContext('2d').getImageData(0, 0, 4, 4).data].filter((_, i) => i % 4 === 3)",
        lit.locator("canvas").element_handle(),
    )
    shown = np.argsort(alphas)
    attention = MadeModel().attention([MIDDLING])[0].ravel()
    assert attention[shown[0]] == attention.max()
    assert attention[shown[-1]] == attention.min()


def test_a_card_tells_the_place_among_others(visit, address):
    at = visit(address)
    middle = sorted(people().reshape(-1, 64, 64, 3), key=lambda face: MadeModel().look([face]).recognizability[0])[9]
    at.give(LOOK, middle)
    expect(at.page.locator("#look .place figcaption")).to_contain_text("Above 50 % of 18 reference faces")
    line, bars = at.page.locator(".mark").bounding_box(), at.page.locator(".histogram .axis").bounding_box()
    assert bars["x"] < line["x"] < bars["x"] + bars["width"]


def test_pictures_are_dropped_and_pasted(visit, address):
    at = visit(address)
    page = at.page
    page.locator("#look .intake").dispatch_event("drop", {"dataTransfer": at.transfer(FACES[0, 0], "dropped.png")})
    page.wait_for_selector("h2.file:has-text('dropped.png')")
    page.evaluate(
        "(held) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: held, bubbles: true }))",
        at.transfer(FACES[1, 0], "pasted.png"),
    )
    page.wait_for_selector("h2.file:has-text('pasted.png')")


def test_a_picture_without_a_face_may_be_taken_whole(visit, address):
    at = visit(address)
    blank = np.zeros((64, 64, 3), np.uint8)
    at.give(LOOK, blank, FACES[0, 0], names=["blank.png", "face.png"])
    card = at.page.locator("#look .card.none")
    assert "blank.png: no face was found in it." in card.inner_text()
    card.get_by_role("button", name="Take the whole picture").click()
    at.page.wait_for_selector("#look .card.face h3:has-text('blank.png')")


def test_pictures_that_are_too_large_are_sent_apart_or_made_smaller(visit, address):
    at = visit(address, expected=[413])  # of 2,000,000 pixels a request takes no more
    whole, huge = np.zeros((1000, 1200, 3), np.uint8), np.zeros((1500, 1600, 3), np.uint8)
    whole[:64, :64] = FACES[0, 0]
    huge[:64, :64] = FACES[1, 0]
    at.give(LOOK, whole, whole, huge, names=["one.png", "two.png", "huge.png"])
    page = at.page
    page.wait_for_selector("h2.file >> nth=2", timeout=30_000)
    headings = page.locator("h2.file").all_inner_texts()
    assert [heading.split("\n")[0].split(".png")[0] for heading in headings] == ["one", "two", "huge"]
    assert ["made smaller" in heading for heading in headings] == [False, False, True]
    width, height = page.evaluate(
        "(i) => [i.naturalWidth, i.naturalHeight]", page.locator(".boxed img").last.element_handle()
    )
    assert 1_800_000 < width * height <= 2_000_000
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare .options input").uncheck()
    at.give("#compare .intake:nth-child(1) input[type=file]", huge)
    at.give("#compare .intake:nth-child(2) input[type=file]", huge)
    expect(page.locator(".outcome")).to_contain_text("Match")


def test_a_still_from_the_camera(visit, address):
    at = visit(address)
    page = at.page
    page.get_by_label("Find the faces").first.uncheck()
    page.locator("#look").get_by_role("button", name="Use the camera").click()
    page.wait_for_selector("dialog button.primary:enabled")
    track = page.evaluate_handle("document.querySelector('dialog video').srcObject.getTracks()[0]")
    page.get_by_role("button", name="Take the picture").click()
    page.wait_for_selector("#look .card.face h3:has-text('camera-')")
    assert page.evaluate("(track) => track.readyState", track) == "ended"
    page.locator("#look").get_by_role("button", name="Use the camera").click()
    page.wait_for_selector("dialog video")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_two_faces_are_compared(visit, address):
    at = visit(address, view="compare")
    page = at.page
    first, second = (f"#compare .intake:nth-child({i}) input[type=file]" for i in (1, 2))
    at.give(first, FACES[0, 0])
    assert page.locator(".outcome").count() == 0
    at.give(second, FACES[0, 1])
    assert page.locator(".outcome h2").inner_text() == "Match"
    assert page.locator(".outcome .scale").get_attribute("aria-label").endswith("threshold 0.900")
    assert page.locator("#compare .card .gauge").count() == 2
    at.give(second, FACES[1, 0])
    page.wait_for_selector(".outcome.different")
    assert page.locator(".outcome h2").inner_text() == "No match"
    at.give(second, LOST)
    page.wait_for_selector(".outcome.unsaid")
    assert "the second face is not recognizable (its score" in page.locator(".outcome .reason").inner_text()


def test_a_comparison_of_several_faces_is_refused_in_words(visit, address):
    at = visit(address, view="compare", expected=[422])
    at.give("#compare .intake:nth-child(1) input[type=file]", FACES[0, 0])
    at.give("#compare .intake:nth-child(2) input[type=file]", mosaic(list(FACES[:2, 0])))
    assert "shows 2 faces: give one" in at.page.locator("#compare .notice").inner_text()


def test_people_are_enrolled_searched_for_and_removed(visit, address):
    at = visit(address, view="people")
    page = at.page
    page.get_by_label("Name", exact=True).fill("Zed")
    at.give(PEOPLE, FACES[0, 2], LOST, STRANGER, names=["again.png", "lost.png", "own.png"])
    assert page.locator(".chosen li").count() == 3
    page.get_by_role("button", name="Enrol 3 pictures").click()
    report = page.locator(".report").inner_text()
    assert "Enrolled 2 faces of Zed." in report
    assert "lost.png was not enrolled: not recognizable" in report
    assert "again.png resembles Person 0, who is enrolled" in report
    page.wait_for_selector("h2:has-text('5 people, 10 faces')")
    page.get_by_label("Search by name").fill("zE")
    expect(page.locator(".person")).to_have_count(1)
    page.locator(".person .kept img").wait_for()
    person = page.locator(".person")
    person.press("Enter")
    expect(page.locator("dialog .faces li")).to_have_count(2)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "person"
    person.press("Enter")
    page.get_by_role("button", name="Remove", exact=True).click()
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    page.keyboard.press("Enter")
    assert CLIENT.get(f"{address}/v1/people/Zed").status_code == 200
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="Remove for good").click()
    page.wait_for_selector("#people p:has-text('Nobody of this name.')")
    assert CLIENT.get(f"{address}/v1/people/Zed").status_code == 404


def test_many_people_come_page_by_page(visit, address):
    names = [f"many {i:02d}" for i in range(30)]
    for i, name in enumerate(names):
        CLIENT.post(
            f"{address}/v1/people/{name}/faces", files=[("files", ("a.png", png(FACES[i % 6, 1])))]
        ).raise_for_status()
    at = visit(address, view="people")
    page = at.page
    page.get_by_label("Search by name").fill("many")
    expect(page.locator(".person b").first).to_have_text("many 00")
    expect(page.locator(".person")).to_have_count(24)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".person")).to_have_count(30)
    assert page.locator(".person b").all_inner_texts() == names
    assert page.get_by_role("button", name="Show more").is_hidden()
    for name in names:
        CLIENT.delete(f"{address}/v1/people/{name}").raise_for_status()


@pytest.fixture
def folder(tmp_path):
    """Faces from sharp to lost in a folder of folders, with what is no picture."""
    (tmp_path / "deep").mkdir()
    for i in range(20):
        blurred = FACES[i % 6, 0] if i < 4 else cv2.GaussianBlur(FACES[i % 6, 0], (0, 0), 0.3 * i)
        where = tmp_path / ("deep" if i % 2 else ".") / (f"=f{i:02d},x.png" if i == 0 else f"f{i:02d}.png")
        where.write_bytes(png(blurred))
    (tmp_path / "broken.png").write_bytes(png(FACES[0, 0])[:300])
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_a_folder_is_sorted_and_cut_by_a_threshold(visit, address, folder):
    at = visit(address, view="folder")
    page = at.page
    page.locator("#folder input[webkitdirectory]").set_input_files(folder)
    page.wait_for_selector(".board")
    names = page.locator(".tile .unseen").all_text_contents()
    assert len(names) == 20
    files = [("files", (name, (folder.parent / name).read_bytes())) for name in names]
    faces = CLIENT.post(f"{address}/v1/score", files=files).json()["faces"]
    indices = np.array([face["recognizability"] for face in faces])
    scores = np.array([face["score"] for face in faces])
    assert (np.diff(indices) >= 0).all()
    assert page.locator(".failed summary").inner_text() == "1 file not scored"
    slider = page.get_by_role("slider")
    for key in ("Home", "ArrowRight", "PageUp", "End"):
        slider.press(key)
        rejected = page.locator(".tile.rejected").count()
        kept = scores[rejected:]
        assert page.locator("dd.is-kept").inner_text() == (f"{len(kept)} face" + "s" * (len(kept) != 1))
        expected = f"{round(100 * (1 - kept).mean())} %" if len(kept) else "nothing kept"
        assert page.locator("dd.is-error").inner_text().removeprefix("> ").removeprefix("< ") == expected
        if rejected < 20:
            assert page.locator(".divider + .tile .unseen").text_content() == names[rejected]
    assert rejected == 20
    slider.press("Home")
    assert page.locator(".tile.rejected").count() == 0
    assert "each searched among 100 faces" in page.locator(".threshold p.hint").inner_text()


def test_the_list_is_saved(visit, address, folder):
    at = visit(address, view="folder")
    page = at.page
    page.locator("#folder input[webkitdirectory]").set_input_files(folder)
    page.wait_for_selector(".board")
    page.get_by_role("slider").fill("500")
    rejected = page.locator(".tile.rejected").count()
    assert 0 < rejected < 20
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the list").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert [row["decision"] for row in rows] == ["rejected"] * rejected + ["kept"] * (20 - rejected) + ["failed"]
    assert any(row["file"].endswith("=f00,x.png") for row in rows)
    assert rows[-1]["file"].endswith("broken.png")
    assert rows[-1]["error"]
    assert float(rows[0]["recognizability"]) <= float(rows[-2]["recognizability"])


@pytest.fixture
def measured(tmp_path):
    """A service whose calibration has thresholds, one of them of cosines."""
    model = MadeModel()
    point = Point("accept", 0.5, 0.8, 0.7, 0.9, 0.5, 0.4, 0.6, 0.1, 0.05, 0.2, 100, 50)
    known = replace(model.calibration, points=(point, replace(point, wish="fmr", threshold=0.6)))
    with running(made_app(tmp_path, model=replace(model, calibration=known))) as where:
        yield where


def test_measured_thresholds_are_offered(measured, visit):
    at = visit(measured, view="folder")
    at.give(FOLDER, *[cv2.GaussianBlur(FACES[0, 0], (0, 0), 0.5 + 0.25 * i) for i in range(12)])
    at.page.get_by_role("button", name="accept 50 %").click()
    assert at.page.locator(".wishes button").count() == 1
    expect(at.page.locator("output")).to_contain_text("score 80 %")


def test_a_name_that_looks_like_a_formula_is_saved_as_a_path(visit, address):
    at = visit(address, view="folder")
    at.give(FOLDER, FACES[0, 0], FACES[1, 0], names=["=1+1.png", 'quo"te.png'])
    with at.page.expect_download() as download:
        at.page.get_by_role("button", name="Save the list").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert {row["file"] for row in rows} == {"./=1+1.png", 'quo"te.png'}


def test_a_folder_may_be_cancelled_and_waits_for_a_busy_service(visit, address, folder):
    at = visit(address, view="folder", expected=[503])
    page = at.page
    asked = []

    def slow(route):
        asked.append(route)
        if len(asked) == 1:
            busy = {"error": {"code": "overloaded", "message": "later"}}
            route.fulfill(status=503, headers={"Retry-After": "1"}, json=busy)
        elif len(asked) == 2:
            route.continue_()

    page.route("**/v1/score*", slow)
    page.locator("#folder input[webkitdirectory]").set_input_files(folder)
    page.wait_for_selector(".progress:has-text('16 of 21 pictures')")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector(".notice:has-text('Cancelled after')")
    assert page.locator(".tile").count() == 16 - page.locator(".failed li").count()


def test_whole_pictures_of_a_folder_give_all_their_faces(visit, address):
    at = visit(address, view="folder")
    at.page.get_by_label("Find the faces").last.check()
    at.give(FOLDER, mosaic(list(FACES[:3, 0])), FACES[3, 0])
    at.page.wait_for_selector(".tile >> nth=3")
    assert sorted(at.page.locator(".tile .unseen").all_text_contents()) == [
        *(f"0.png, face {i}" for i in (1, 2, 3)),
        "1.png, face 1",
    ]


def test_a_bare_service_promises_nothing(visit, bare):
    at = visit(bare)
    page = at.page
    expect(page.get_by_role("tab")).to_have_text(["Look", "Compare", "Folder"])
    assert page.locator("input[type=checkbox]").count() == 0
    at.give(LOOK, FACES[0, 0])
    card = page.locator("#look .card.face").inner_text()
    assert "No verdict" in card
    assert "index has an order and no meaning" in card
    assert "%" not in card
    page.get_by_role("tab", name="Folder").click()
    at.give(FOLDER, FACES[0, 0], LOST)
    assert page.locator("dd.is-error").inner_text() == "unknown"
    assert "not calibrated" in page.locator(".threshold").inner_text()


def test_the_key_is_asked_for_and_kept_in_the_tab_alone(visit, keyed):
    address, keys = keyed
    at = visit(address, expected=[401])
    page = at.page
    field = page.get_by_label("API key")
    assert field.get_attribute("type") == "password"
    field.fill("vlrf_wrong_key")
    field.press("Enter")
    page.wait_for_selector("dialog:has-text('does not know this key')")
    page.get_by_label("API key").fill("nö key")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog:has-text('This is not a key')")
    page.get_by_label("API key").fill(keys["read"])
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=tab]")
    assert page.evaluate("Object.values(sessionStorage)") == [keys["read"]]
    page.reload()
    page.wait_for_selector("[role=tab]")
    page.get_by_role("button", name="Forget the key").click()
    page.get_by_label("API key").wait_for()
    assert page.evaluate("sessionStorage.length") == 0
    page.keyboard.press("Escape")
    page.wait_for_selector(".notice:has-text('Without a key the service does not answer')")


@pytest.mark.parametrize(("role", "enrols", "removes"), [("read", 0, 0), ("enrol", 1, 0), ("admin", 1, 1)])
def test_a_role_is_offered_what_it_may(visit, keyed, role, enrols, removes):
    address, keys = keyed
    at = visit(address, view="people", expected=[401])
    page = at.page
    page.get_by_label("API key").fill(keys[role])
    page.keyboard.press("Enter")
    page.locator(".person").wait_for()
    assert page.locator("form.enrol").count() == enrols
    page.locator(".person .kept img").wait_for()
    page.locator(".person").click()
    page.wait_for_selector("dialog .faces")
    assert page.get_by_role("button", name="Remove", exact=True).count() == removes


def test_what_goes_wrong_is_said_in_words(visit, address):
    at = visit(address, expected=[0, 415, 429])
    page = at.page
    page.locator(LOOK).set_input_files([{"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"}])
    assert "None of this is a picture" in page.locator("#look .notice").inner_text()
    at.give(LOOK, *[FACES[0, 0]] * 33)
    page.wait_for_selector("#look .notice:has-text('use the folder view')")
    often = {"error": {"code": "too_often", "message": "technical"}}
    page.route("**/v1/identify*", lambda route: route.fulfill(status=429, json=often))
    at.give(LOOK, FACES[0, 0])
    page.wait_for_selector("#look .notice:has-text('Too many requests')")
    page.unroute("**/v1/identify*")
    page.route("**/v1/identify*", lambda route: route.abort())
    at.give(LOOK, FACES[0, 0])
    page.wait_for_selector("#look .notice:has-text('cannot be reached')")


def test_tabs_by_keyboard_with_a_focus_that_is_seen(visit, address):
    at = visit(address)
    page = at.page
    page.wait_for_selector("[role=tab]")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    for key, name in [
        ("ArrowRight", "compare"),
        ("End", "people"),
        ("ArrowRight", "look"),
        ("ArrowLeft", "people"),
        ("Home", "look"),
    ]:
        page.keyboard.press(key)
        assert page.evaluate("[document.activeElement.id, location.hash]") == [f"tab-{name}", f"#{name}"]
        assert page.locator("[role=tabpanel]:visible").get_attribute("id") == name
    seen = []
    for _ in range(5):  # one stop for all tabs, then what the view holds
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        seen.append(
            page.evaluate("document.activeElement.textContent || document.activeElement.parentElement.textContent")
        )
        page.keyboard.press("Tab")
    assert seen[:3] == ["Look", "Choose pictures", "Use the camera"]
    assert seen[3].startswith("Find the faces")
    with page.expect_file_chooser():
        page.locator("#look").get_by_role("button", name="Choose pictures").press("Space")


def walked(at):
    """Every view with something in it, one after another."""
    page = at.page
    at.give(LOOK, mosaic([FACES[0, 0], STRANGER, LOST]))
    page.wait_for_selector("#look .card.face >> nth=2")
    yield "look"
    page.get_by_role("tab", name="Compare").click()
    for i, face in ((1, FACES[0, 0]), (2, FACES[0, 1])):
        at.give(f"#compare .intake:nth-child({i}) input[type=file]", face)
    page.wait_for_selector(".outcome")
    yield "compare"
    page.get_by_role("tab", name="Folder").click()
    at.give(FOLDER, *FACES[:, 0], LOST, names=[f"a-rather-long-name-of-a-picture-{i}" * 3 + ".png" for i in range(7)])
    page.wait_for_selector(".board")
    yield "folder"
    page.get_by_role("tab", name="People").click()
    page.wait_for_selector(".person")
    yield "people"
    page.locator(".person").first.click()
    page.wait_for_selector("dialog .faces")
    yield "dialog"


def test_everything_fits_on_a_phone(visit, address):
    at = visit(address, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    for view in walked(at):
        assert at.overflow() <= 0, view
        small = "(e) => e.checkVisibility() && e.getBoundingClientRect().height < 24"
        assert not any(at.page.evaluate(small, each) for each in at.page.query_selector_all("button")), view


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_in_light_and_dark(visit, address, scheme):
    at = visit(address, color_scheme=scheme, reduced_motion="reduce")
    for view in walked(at):
        assert at.low_contrasts() == [], view
    ground = at.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground[4:].split(",")[0]) < 60) == (scheme == "dark")


def test_nothing_moves_for_who_wants_it_still(visit, address):
    for motion, still in (("reduce", True), ("no-preference", False)):
        at = visit(address, reduced_motion=motion)
        at.give(LOOK, FACES[0, 0])
        at.page.wait_for_selector(".gauge .value")
        seconds = at.page.evaluate(
            "parseFloat(getComputedStyle(document.querySelector('.gauge .value')).animationDuration)"
        )
        assert (seconds < 0.01) == still
