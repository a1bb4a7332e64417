"""The page of docs/c.md plays a model as an audio effect in Chromium: WebAssembly in an AudioWorklet."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

import rnnexport
from tests.report.browser import chromium, launched
from tests.streams import with_random_weights

PAGE = (Path(__file__).parents[2] / "docs" / "c.md").read_text()
PLAYED = """(async () => {
  const context = new OfflineAudioContext(1, %(count)d, 44100);
  const buffer = new AudioBuffer({length: %(count)d, sampleRate: 44100});
  buffer.copyToChannel(new Float32Array(%(sound)s), 0);
  const sound = new AudioBufferSourceNode(context, {buffer});
  sound.connect(await effect(context)).connect(context.destination);
  sound.start();
  return [...(await context.startRendering()).getChannelData(0)];
})()"""


def block(language, word):
    """The one block of the page in that language that has the word."""
    (found,) = [
        text for text in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if word in text
    ]
    return found


@pytest.mark.long
def test_a_browser_plays_what_keras_computes(tmp_path):
    """Zig builds the C library for it first, which takes minutes once."""
    program = chromium()
    if program is None or find_spec("ziglang") is None:
        pytest.skip("no Chromium, or no ziglang")
    x = keras.Input((None, 1), name="x")
    h = keras.layers.GRU(6, return_sequences=True, name="gru")(x)
    model = keras.Model(x, keras.layers.Dense(1, name="y")(h))
    with_random_weights(model, 2)
    folder = tmp_path / "site"
    folder.mkdir()
    rnnexport.export(model, folder / "effect.c", stream="dynamic")
    (folder / "worklet.c").write_text(block("c", "export_name"))
    (folder / "processor.js").write_text(block("js", "AudioWorkletProcessor"))
    (folder / "index.html").write_text(block("html", "AudioWorkletNode"))
    command = block("console", "wasm32").replace("python", sys.executable, 1)
    subprocess.run(command.split(), cwd=folder, check=True)

    sound = np.random.default_rng(1).uniform(-1, 1, (1, 512, 1)).astype("float32")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with launched(program, tmp_path / "profile") as browser:
            browser.open(f"http://127.0.0.1:{server.server_port}/index.html", width=800, height=600)
            played = PLAYED % {"count": sound.size, "sound": json.dumps(sound.ravel().tolist())}
            told = browser.call("Runtime.evaluate", expression=played, awaitPromise=True, returnByValue=True)
        server.shutdown()
    assert "exceptionDetails" not in told, told
    np.testing.assert_allclose(told["result"]["value"], model(sound).numpy().ravel(), rtol=1e-5, atol=2e-6)


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""
