"""Bounties a second through the pipeline, with the least that an engine can do."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

BOUNTIES = 5_000
ROUNDS = 7


@pytest.fixture
def bounties(tmp_path) -> Path:
    """Bounties in JSON, one a line, as the marketplace writes them; their artifacts are in ``data:`` URIs."""
    path = tmp_path / "bounties.jsonl"
    with path.open("w") as file:
        for number in range(BOUNTIES):
            content = base64.b64encode(f"the artifact of bounty {number}\n".encode()).decode()
            bounty = {
                "id": 1_000_000 + number,
                "artifact_type": "file",
                "artifact_uri": f"data:text/plain;base64,{content}",
                "expiration": "2099-12-31T23:59:59+00:00",
                "phase": "assertion",
                "duration": 30,
                "rules": {"min_allowed_bid": 62_500_000_000_000_000, "max_allowed_bid": 10**18},
                "metadata": {"mimetype": "text/plain"},
            }
            file.write(json.dumps(bounty) + "\n")
    return path


def test_a_trivial_bounty_is_judged_at_least_3_times_as_often_as_by_the_ancestor(program, in_turns, bounties, figure):
    host, ancestor = program("bounties_host.py", bounties), program("bounties_ancestor.py", bounties)
    ours, theirs = host.round(), ancestor.round()
    assert ours["bounties"] == theirs["bounties"] == BOUNTIES
    assert ours["heard"] == BOUNTIES
    for key in ("verdict", "bid", "confidence"):
        assert ours["answer"][key] == theirs["answer"][key]
    environment = ours["answer"]["metadata"]["scanner"]["environment"]
    assert environment == theirs["answer"]["metadata"]["scanner"]["environment"]

    def seconds(of: Any) -> float:
        result = of.round()
        assert result["bounties"] == BOUNTIES
        return float(result["seconds"])

    rounds = in_turns(ROUNDS, host=lambda: seconds(host), ancestor=lambda: seconds(ancestor))
    ratio = rounds.ratio("ancestor", "host")
    figure(
        "trivial bounties, JSON to JSON, one observer",
        f"{BOUNTIES / rounds.median('host'):,.0f} bounties/s",
        f"ancestor: {BOUNTIES / rounds.median('ancestor'):,.0f} bounties/s",
        f"{ratio:.1f} times its bounties",
        "at least 3",
    )
    assert ratio >= 3
