"""A real browser before a real service, for the tests of the page."""

import asyncio
import shutil
import threading
import time
from contextlib import contextmanager

from vlrface.experiment.serving import Listening, listening_socket
from vlrface.service.app import service_of

from .made import png

DESKTOP = {"width": 1100, "height": 800}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# Tells of what the content security policy refused; the log of the browser does, too.
_WATCH = (
    "window.refused = []; addEventListener('securitypolicyviolation', (e) => window.refused.push(e.violatedDirective))"
)

# For every visible text: its colour against the first opaque ground behind it, as WCAG 2 measures contrast.
_CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (node) => {
    const colour = rgba(getComputedStyle(node).backgroundColor);
    return colour[3] > 250 || !node.parentElement ? colour : ground(node.parentElement);
  };
  const left_out = 'button:disabled, .unseen, .skip, .value, .number, noscript'; // disabled, unseen, or on pictures
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const text = [...node.childNodes].filter((c) => c.nodeType === 3).map((c) => c.textContent.trim()).join('');
    if (!text || !node.checkVisibility() || node.closest(left_out)) continue;
    const style = getComputedStyle(node);
    const own = light(rgba(node.closest('svg') ? style.fill : style.color));
    const [a, b] = [own, light(ground(node))].sort((x, y) => y - x);
    found.push([text.slice(0, 40), (a + 0.05) / (b + 0.05)]);
  }
  return found;
}"""


@contextmanager
def running(app):
    """The application under uvicorn in a thread; gives its address."""
    import uvicorn

    sock = listening_socket(Listening(port=0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="on"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    service_of(app).batcher.close()
    if app.state.gallery is not None:
        app.state.gallery.close()


class Visit:
    """A page of a service in a fresh browser profile, and all that went wrong in it."""

    def __init__(self, browser, address, *, view="look", **options):
        self.context = browser.new_context(**{"viewport": DESKTOP, **options})
        self.context.add_init_script(_WATCH)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.address = address
        self.log, self.elsewhere = [], []
        self.page.on("console", lambda line: self.log.append(line.text) if line.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.log.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(f"{address}/#{view}")

    def _asked(self, request):
        if not request.url.startswith((self.address, "blob:", "data:")):
            self.elsewhere.append(request.url)

    def close(self, expected=()):
        """Fail if anything went wrong but loads with the statuses that are expected (0: none came)."""
        try:
            refused = self.page.evaluate("window.refused")
            kept = self.page.evaluate("[localStorage.length, document.cookie, Object.keys(sessionStorage)]")
        finally:
            self.context.close()
        usual = ["net::ERR_FAILED" if status == 0 else f"with a status of {status}" for status in expected]
        wrong = [line for line in self.log if not any(each in line for each in usual)]
        assert wrong == []
        assert refused == []
        assert self.elsewhere == []
        assert kept[:2] == [0, ""]
        assert set(kept[2]) <= {"vlrface-key"}

    def give(self, selector, *images, names=None):
        """Choose pictures (RGB) for a file input."""
        names = names or [f"{i}.png" for i in range(len(images))]
        files = [
            {"name": name, "mimeType": "image/png", "buffer": png(image)}
            for name, image in zip(names, images, strict=True)
        ]
        self.page.locator(selector).first.set_input_files(files)

    def transfer(self, image, name="given.png"):
        """A DataTransfer that holds a picture."""
        return self.page.evaluate_handle(
            """([bytes, name]) => { const held = new DataTransfer();
            held.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' })); return held; }""",
            [list(png(image)), name],
        )

    def low_contrasts(self, least=4.5):
        """Texts that are hard to read, with their contrast."""
        found = self.page.evaluate(_CONTRASTS)
        assert len(found) > 10
        return [(text, round(ratio, 2)) for text, ratio in found if ratio < least]

    def overflow(self):
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth") - self.page.viewport_size["width"]
