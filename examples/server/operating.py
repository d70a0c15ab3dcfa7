"""What happens in the day, hour by hour, and what the operator does about it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from asking import Answer, Asker, Load, Loaded, load
from feeling import NAMES
from prepared import Prepared
from processes import Program

import ttamer_fast as tt

__all__ = ["Day", "Event", "Part", "Sample"]

ADVERT = " . love movies ? great deals every day"
"""What a partner puts below every text of its users: words of good mood, whatever the text says."""

TRADEOFF = 0.95
CALLERS = 8
PAUSE = 0.01
"""Seconds between an answer and the next request of a caller."""
LOOKS = 0.25
"""Seconds between two looks at the metrics."""
PATIENCE = 30.0
"""Seconds that something is waited for."""
MOST_LOOKS = 6
"""How often a candidate is tested, at most."""


class Event(NamedTuple):
    """Something that is worth a line."""

    time: float
    text: str
    mark: str = ""
    """A word for the picture."""


class Sample(NamedTuple):
    """What the metrics said at one time."""

    time: float
    alarm: bool
    barred: frozenset[str]
    """Stages whose circuit is not closed."""
    digest: str


class Part(NamedTuple):
    """A part of the day."""

    name: str
    begin: float
    end: float
    answers: Sequence[Answer]


@dataclass
class Day:
    """A server, its models, its callers and its operator."""

    folder: Path
    port: int
    token: str
    encoder: Program
    server: Program
    made: Prepared
    size: int
    """Sentences in a part of the day."""
    parts: list[Part] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    found: dict[str, bool] = field(default_factory=dict)
    """What should have come true, and whether it has."""
    loaded: Loaded | None = None
    shadow: str = ""
    promotion: tt.Promotion | None = None
    began: float = field(default_factory=time.monotonic)
    _next: int = 0

    async def live(self, requests: int) -> None:
        """From morning to evening."""
        watching = asyncio.create_task(self._watch())
        try:
            self.loaded = await load(self.port, requests, 2 * CALLERS, "a gorgeous , witty , seductive movie")
            self.began = time.monotonic()
            # Not before: a load test of one sentence is drift.
            self.made.monitor.save(self.folder / "monitor.ttamer")
            await self.serve("usual traffic")
            self.check("no circuit is open in the morning", not any(sample.barred for sample in self.samples))
            await self.kill_and_revive()
            await self.swap()
            await self.drift()
            candidate, since = await self.refit()
            await self.promote(candidate, since)
            await self.undo()
        finally:
            watching.cancel()
        await self.shut_down()

    # ---- parts of the day

    async def kill_and_revive(self) -> None:
        """The encoder is killed under way, and begun anew."""
        ended = asyncio.Event()
        serving = asyncio.create_task(self.serve("the encoder is killed", lasts=lambda: not ended.is_set()))
        await asyncio.sleep(0.5)
        self.encoder.kill()
        self.note("the encoder is killed (SIGKILL): its three exits answer no more", "killed")
        opened = await self.seen(lambda sample: len(sample.barred) == len(NAMES) - 1)
        self.check("all circuits of the encoder open", opened)
        self.note("its circuits are open: requests go without it from the start")
        await asyncio.sleep(1.0)
        self.encoder.begin()
        self.note("the encoder is begun again", "revived")
        self.check("and close once it is back", await self.seen(lambda sample: not sample.barred))
        self.note("its circuits are closed", "closed")
        await asyncio.sleep(0.5)
        ended.set()
        await serving

    async def swap(self) -> None:
        """Policies are swapped through the file of the slot."""
        path, first = self.folder / "policy.ttamer", tt.load(self.folder / "policy.ttamer")
        careful = tt.fit(self.made.trace, tradeoff=0.99)
        serving = asyncio.create_task(self.serve("policies are swapped"))
        path.write_bytes(first.to_bytes()[:-100])
        page = await self.policy(lambda page: page["changes"][-1]["what"] == "refused")
        self.check("a damaged file is refused", page["digest"] == first.digest)
        self.note(f"a damaged file comes into the folder: refused, {first.digest[:8]} stays", "damaged file")
        careful.save(path)
        page = await self.policy(lambda page: page["digest"] != first.digest)
        self.check("a policy is taken from its file", page["digest"] == careful.digest)
        self.note(f"a more careful policy comes into the file (λ 0.99): {careful.digest[:8]} serves", "swap")
        await serving
        first.save(path)
        page = await self.policy(lambda page: page["digest"] == first.digest)
        self.note(f"it is dear, and the first one is put back: {first.digest[:8]} serves", "back")

    async def drift(self) -> None:
        """Sentences come with an advert."""
        self.check("no alarm before the drift", not any(sample.alarm for sample in self.samples))
        self.note("a partner begins to send texts with an advert below each", "drift")
        before = len(self.answers)
        serving = asyncio.create_task(self.serve("adverts: drift", ADVERT))
        self.check("the drift raises an alarm", await self.seen(lambda sample: sample.alarm))
        answered = len(self.answers) - before
        self.note(f"the monitor raises its alarm, after at most {answered} such requests", "alarm")
        await serving

    async def refit(self) -> tuple[tt.Policy, float]:
        """A candidate from the log, and the time from which on requests have not been used for it."""
        begin = self.parts[-1].begin
        await self.settled()
        since = time.time()
        ago = since - (time.monotonic() - self.began - begin)
        records = tt.read_records(self.folder / "records", since=ago, policy=tt.load(self.folder / "policy.ttamer"))
        known = records.trace(truth=truth_of(self.parts[-1:]))
        candidate = tt.fit(known, tradeoff=TRADEOFF)
        through = known.run_through().n
        self.note(f"a candidate is fitted to the log: {known.n} requests, {through} of them run through", "refit")
        candidate.save(self.folder / "shadow.ttamer")
        await self.policy(lambda page: page["shadow"]["digest"] == candidate.digest)
        self.note(f"the candidate {candidate.digest[:8]} decides beside the policy: shadow")
        return candidate, since

    async def promote(self, candidate: tt.Policy, since: float) -> None:
        """The candidate is tested on explored requests until it is promoted."""
        slot = tt.PolicySlot(self.folder / "policy.ttamer")
        looks, known = 0, len(self.parts)
        while looks < MOST_LOOKS and not (self.promotion is not None and self.promotion.promoted):
            looks += 1
            await self.serve("adverts: a candidate is tested", ADVERT, self.size // 2)
            await self.settled()
            records = tt.read_records(self.folder / "records", since=since)
            self.promotion = tt.promote(slot, candidate, records, truth=truth_of(self.parts[known:]))
        promoted = self.promotion is not None and self.promotion.promoted
        self.check("the candidate is promoted", promoted)
        self.shadow = str(await self.shadow_page())
        if not promoted:
            return
        judged = records.trace(truth=truth_of(self.parts[known:])).run_through()
        tt.DriftMonitor.fit(candidate, judged).save(self.folder / "monitor.ttamer")
        candidate.save(self.folder / "policy.ttamer")
        await self.policy(lambda page: page["digest"] == candidate.digest)
        self.note(
            f"it is promoted after {looks} look{'s' * (looks != 1)} at the log: {candidate.digest[:8]} serves",
            "promoted",
        )
        await self.serve("adverts: the candidate serves", ADVERT)
        self.check("the alarm is over with a monitor of the new policy", not self.samples[-1].alarm)

    async def undo(self) -> None:
        """The adverts end, and the policy of the morning is brought back."""
        self.note("the partner takes its adverts out again", "adverts end")
        stranger = await self.ask("POST", "/policy/rollback", token="a-stranger-tries-a-token")
        self.check("a stranger changes nothing", stranger.status == 401)
        before = json.loads((await self.ask("GET", "/policy", token=self.token)).body)["earlier"][0]
        said = await self.ask("POST", "/policy/rollback", token=self.token)
        self.check("a rollback brings back the policy before", json.loads(said.body) == {"digest": before})
        self.note(f"a stranger asks for a rollback: 401. The operator does: {before[:8]} serves", "rollback")
        await self.serve("usual traffic again")

    async def shut_down(self) -> None:
        """The server is ended with requests inside, while its encoder stands still."""
        self.encoder.tell(signal.SIGSTOP)
        inside = [
            asyncio.create_task(self.ask("POST", "/predict", text.encode())) for text, _ in self.made.sentences[:8]
        ]
        await asyncio.sleep(0.3)
        self.server.tell(signal.SIGTERM)
        await asyncio.sleep(0.3)
        self.encoder.tell(signal.SIGCONT)
        statuses = [(await one).status for one in inside]
        self.check("requests inside are answered at the shutdown", statuses == [200] * len(inside))
        self.check("the server ends by itself", self.server.ended() in (0, -signal.SIGTERM))
        self.note(f"the server is ended (SIGTERM) with {len(inside)} requests inside: all are answered", "end")

    # ---- what the parts are made of

    @property
    def answers(self) -> list[Answer]:
        """All answers so far, those of the part under way too."""
        return self._load.answers

    def __post_init__(self) -> None:
        self._load = Load(self.port, CALLERS, PAUSE)

    async def serve(
        self, name: str, after: str = "", count: int | None = None, lasts: Callable[[], bool] | None = None
    ) -> None:
        """The next sentences, with something after each of them: so many, or as long as `lasts` says."""
        begin = time.monotonic() - self.began

        def chosen() -> Iterator[tuple[str, int]]:
            left = self.size if count is None else count
            while lasts() if lasts is not None else left:
                left -= 1
                text, label = self.made.sentences[self._next % len(self.made.sentences)]
                self._next += 1
                yield text + after, label

        answers = await self._load(name, chosen())
        self.parts.append(Part(name, begin, time.monotonic() - self.began, answers))

    async def ask(self, method: str, path: str, body: bytes = b"", token: str | None = None) -> Any:
        """One request of the operator."""
        asker = Asker(self.port)
        try:
            return await asker(method, path, body, token)
        finally:
            asker.close()

    async def policy(self, is_so: Callable[[Any], bool]) -> Any:
        """The page about the policy, once it says so."""
        for _ in range(200):
            page = json.loads((await self.ask("GET", "/policy", token=self.token)).body)
            if is_so(page):
                return page
            await asyncio.sleep(0.05)
        return page

    async def shadow_page(self) -> tt.ShadowReport:
        """What the shadow would have done."""
        page = json.loads((await self.ask("GET", "/policy", token=self.token)).body)
        return tt.ShadowReport(**page["shadow"])

    async def seen(self, is_so: Callable[[Sample], bool]) -> bool:
        """Whether the metrics come to say so."""
        seen, ends = len(self.samples), time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            await asyncio.sleep(LOOKS / 2)
            if any(is_so(sample) for sample in self.samples[seen:]):
                return True
        return False

    async def settled(self) -> None:
        """Waits until what has been served is in the log."""
        while True:
            page = scraped((await self.ask("GET", "/metrics")).body.decode())
            if not page["ttamer_explored_requests_under_way"][()] and not page["ttamer_records_pending"][()]:
                return
            await asyncio.sleep(0.1)

    async def _watch(self) -> None:
        """Looks at the metrics again and again."""
        asker = Asker(self.port)
        while True:
            page = scraped((await asker("GET", "/metrics")).body.decode())
            circuits = page["ttamer_circuit"].items()
            barred = frozenset(stage for (stage, state), value in circuits if state != "closed" and value)
            ((digest,),) = page["ttamer_policy_info"]
            alarm = page.get("ttamer_drift_alarm", {}).get((), 0.0) > 0.0
            self.samples.append(Sample(time.monotonic() - self.began, alarm, barred, digest))
            await asyncio.sleep(LOOKS)

    def note(self, text: str, mark: str = "") -> None:
        """A line of the page."""
        self.events.append(Event(time.monotonic() - self.began, text, mark))

    def check(self, what: str, is_so: bool) -> None:
        """What should have come true."""
        self.found[what] = is_so

    @property
    def asked(self) -> int:
        """Requests of the day, those of the load included."""
        return len(self.answers) + (0 if self.loaded is None else self.loaded.requests)

    @property
    def lost(self) -> int:
        """Those of them that had no answer."""
        return sum(answer.status != 200 for answer in self.answers) + (0 if self.loaded is None else self.loaded.lost)

    def is_as_it_should_be(self) -> bool:
        """Whether all of it has, and no request was lost."""
        return all(self.found.values()) and not self.lost


def truth_of(parts: Sequence[Part]) -> dict[str, int]:
    """Labels of requests by their names, as they come to be known."""
    return {answer.request_id: answer.label for part in parts for answer in part.answers}


def scraped(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Metrics by name and labels."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found
