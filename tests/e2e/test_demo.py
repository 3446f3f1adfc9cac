"""`demo`: the whole product on one machine, without a key or a network."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

from tests.support.http import until
from tests.support.processes import PROGRAM, Person

TOKEN = re.compile(r"tkn_[0-9a-f-]{36}")


async def test_once_shows_each_step_and_ends(tmp_path: Path) -> None:
    person = Person.at(tmp_path)
    done = await person.run("demo", "--once")
    assert (done.status, done.err) == (0, ""), done.err
    for role in ("lead-engineer", "developer", "contractor", "ci-pipeline"):
        assert re.search(rf"token +{role} +tkn_", done.out)
    assert "lead-engineer asks gpt-4o: 200 'You said: Hello'" in done.out
    assert "developer sends an SSN:    200 'You said: My SSN is [REDACTED]'" in done.out
    assert "contractor tries a trick:  403" in done.out
    assert "ci-pipeline asks gpt-4o:   403" in done.out
    waits = [int(ms) for ms in re.findall(r"after (\d+) ms", done.out)]
    assert len(waits) == 2
    assert max(waits) < 1000
    assert "536-22-1234" not in done.out.replace("My SSN is 536-22-1234", "")
    assert not list((tmp_path / "home").glob(".tokenomics")), "it keeps to its own folder"


async def test_json_is_one_object_and_nothing_else(tmp_path: Path) -> None:
    done = await Person.at(tmp_path).run("demo", "--once", "--json")
    document = json.loads(done.out)
    assert len(document["tokens"]) == 4
    assert done.status == 0


async def test_what_it_says_to_paste_works_as_it_stands(tmp_path: Path) -> None:
    person = Person.at(tmp_path)
    process = person.start("demo", "--keep", str(tmp_path / "kept"))
    try:
        await until(lambda: "Ctrl-C" in process.out, "the end of the tour")
        text = process.out.replace("$(tokenomics ", f"$({' '.join(PROGRAM)} ")
        pasted = re.findall(r"(?m)^  ((?:eval|curl)(?:.*\\\n)*.*)$", text)
        assert len(pasted) == 3
        plain = await person.bash(pasted[0].replace("curl", "curl -sS --fail"))
        assert plain.status == 0, plain.err
        assert "You said: Hello" in plain.out
        secure = await person.bash("\n".join(pasted[1:]).replace("curl", "curl -sS --fail"))
        assert secure.status == 0, secure.err
        assert secure.out.endswith("data: [DONE]\n\n")
        listed = await person.run("--dir", str(tmp_path / "kept"), "token", "list", "--json")
        assert len(json.loads(listed.out)) == 4
        assert await process.terminate(signal.SIGINT) == 0
    finally:
        if process.popen.poll() is None:
            process.kill()
    log = (tmp_path / "kept" / "demo.log").read_text()
    assert TOKEN.search(log) is None
    assert "536-22-1234" not in log
