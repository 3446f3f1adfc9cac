"""Speech and transcripts, as OpenAI answers with them. Speech is a moment of silence, a WAV file
in whatever format it is asked for; a transcript says the prompt back, for nobody listens.

https://platform.openai.com/docs/api-reference/audio/createSpeech,
.../audio/createTranscription, .../audio/transcript-text-delta-event
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

from tokenomics import strictjson
from tokenomics.dialects.ask import wrong
from tokenomics.dialects.sse import event
from tokenomics.echo.plan import Answer, Body, Events, Plan, json_body

RATE = 24_000  # samples a second, of two bytes, as OpenAI's PCM has
SILENCE = bytes(RATE // 100 * 2)  # 10 ms
PIECE = 128  # bytes of sound in an event
SECONDS = 1.0  # what any file is said to last


def speech(plan: Plan) -> Answer:
    """Sound, or with `stream_format: sse` its pieces as events."""
    if plan.document.get("stream_format") == "sse":
        return Events(_speech_events(plan))
    if plan.document.get("response_format") == "pcm":
        return Body("audio/pcm", SILENCE)
    return Body("audio/wav", wav(SILENCE))


def wav(samples: bytes) -> bytes:
    """A RIFF file of PCM, one channel, two bytes a sample."""
    form = struct.pack("<HHIIHH", 1, 1, RATE, RATE * 2, 2, 16)
    chunks = _chunk(b"fmt ", form) + _chunk(b"data", samples)
    return _chunk(b"RIFF", b"WAVE" + chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data


def _speech_events(plan: Plan) -> Iterator[bytes]:
    sound = wav(SILENCE)
    pieces = [sound[i : i + PIECE] for i in range(0, len(sound), PIECE)]
    for piece in pieces:
        yield _event("speech.audio.delta", audio=base64.b64encode(piece).decode())
    counts = {"input_tokens": plan.input, "output_tokens": len(pieces)}
    usage = {**counts, "total_tokens": sum(counts.values())}
    yield _event("speech.audio.done", usage=usage)


def transcripts(plan: Plan) -> Answer:
    """Transcriptions and translations, whole in any format or streamed. Raises Refusal."""
    form = plan.document.get("response_format") or "json"
    write = _FORMATS.get(form) if isinstance(form, str) else None
    if write is None:
        raise wrong(f"echo writes {', '.join(_FORMATS)}", "response_format")
    return Events(_transcript_events(plan)) if plan.ask.stream else write(plan)


def _transcript_events(plan: Plan) -> Iterator[bytes]:
    for word in plan.words:
        yield _event("transcript.text.delta", delta=word)
    yield _event("transcript.text.done", text=plan.text, usage=_usage(plan))


def _event(kind: str, **fields: Any) -> bytes:
    return event(strictjson.dumps({"type": kind, **fields}))


def _json(plan: Plan) -> Answer:
    return json_body({"text": plan.text, "usage": _usage(plan)})


def _verbose(plan: Plan) -> Answer:
    segment = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": SECONDS,
        "text": plan.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }
    return json_body(
        {
            "task": "translate" if plan.path.endswith("/translations") else "transcribe",
            "language": "english",
            "duration": SECONDS,
            "text": plan.text,
            "segments": [segment],
            "usage": {"type": "duration", "seconds": int(SECONDS)},
        }
    )


def _text(plan: Plan) -> Answer:
    return Body("text/plain; charset=utf-8", f"{plan.text}\n".encode())


def _srt(plan: Plan) -> Answer:
    cue = f"1\n00:00:00,000 --> 00:00:01,000\n{plan.text}\n\n"
    return Body("text/plain; charset=utf-8", cue.encode())


def _vtt(plan: Plan) -> Answer:
    cue = f"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{plan.text}\n\n"
    return Body("text/plain; charset=utf-8", cue.encode())


_FORMATS = {"json": _json, "verbose_json": _verbose, "text": _text, "srt": _srt, "vtt": _vtt}


def _usage(plan: Plan) -> dict[str, Any]:
    return {
        "type": "tokens",
        "input_tokens": plan.input,
        "input_token_details": {
            "text_tokens": plan.input - plan.files,
            "audio_tokens": plan.files,
        },
        "output_tokens": len(plan.words),
        "total_tokens": plan.input + len(plan.words),
    }
