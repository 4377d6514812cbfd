"""A blocked event loop shows in a metric."""

import asyncio

from prometheus_client import CollectorRegistry

from tests.support.clock import ManualClock
from wpclone.core.loop_delay import NAP, LoopDelay
from wpclone.core.metrics import Metrics


async def delays(*naps: float) -> tuple[float, float]:
    """How many delays were seen when naps took this long, and their sum."""
    clock, metrics = ManualClock(), Metrics(CollectorRegistry())
    loop = LoopDelay(clock, metrics)
    for nap in naps:
        measuring = asyncio.create_task(loop.once())
        await asyncio.sleep(0)
        clock.advance(nap)
        await measuring
    values = [metrics.registry.get_sample_value(f"clone_loop_delay_seconds_{name}") for name in ("count", "sum")]
    return values[0] or 0.0, round(values[1] or 0.0, 6)


async def test_a_loop_that_wakes_in_time_has_no_delay() -> None:
    assert await delays(NAP, NAP) == (2, 0.0)


async def test_what_a_nap_took_too_long_is_the_delay() -> None:
    assert await delays(NAP, NAP + 7) == (2, 7.0)
