"""The job in hand."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
import time

import pytest

from psengine_host.job import Job, current_job, seconds_left, working_on


def test_outside_of_any_block_there_is_no_job_and_all_the_time_there_is() -> None:
    assert current_job() is None
    assert seconds_left() == math.inf


def test_a_job_is_in_hand_inside_its_block_and_the_outer_one_comes_back() -> None:
    outer, inner = Job("yara", 1), Job("clamav", "2", "delivery-2", time.monotonic() + 60)
    with working_on(outer):
        with working_on(inner) as job:
            assert current_job() is job is inner
            assert 50 < seconds_left() <= 60
        assert current_job() is outer
        assert seconds_left() == math.inf
    assert current_job() is None


def test_the_block_ends_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), working_on(Job("yara")):
        _ = 1 / 0
    assert current_job() is None


def test_a_deadline_that_has_passed_leaves_less_than_nothing() -> None:
    with working_on(Job("yara", deadline=time.monotonic() - 5)):
        assert seconds_left() < 0


def test_tasks_inherit_it_and_do_not_see_each_others() -> None:
    async def engine_of(name: str) -> str | None:
        with working_on(Job(name)):
            await asyncio.sleep(0)
            job = current_job()
            return None if job is None else job.engine

    async def both() -> list[str | None]:
        return await asyncio.gather(engine_of("one"), engine_of("two"))

    assert asyncio.run(both()) == ["one", "two"]


def test_a_thread_has_it_only_where_the_context_is_copied() -> None:
    seen: list[Job | None] = []
    with working_on(Job("yara", 7)):
        bare = threading.Thread(target=lambda: seen.append(current_job()))
        context = contextvars.copy_context()
        copied = threading.Thread(target=lambda: seen.append(context.run(current_job)))
        for thread in (bare, copied):
            thread.start()
            thread.join(10)
    assert seen == [None, Job("yara", 7)]
