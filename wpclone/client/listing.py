"""A listing, gathered page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from wpclone.v2 import clone_service_pb2 as messages

LARGEST_PAGE = 200
Query = TypeVar("Query", messages.ListClonesRequest, messages.ListJobsRequest)
Page = TypeVar("Page", messages.ListClonesResponse, messages.ListJobsResponse)
Row = TypeVar("Row")


async def gather_rows(
    ask: Callable[[Query], Awaitable[Page]], query: Query, rows_of: Callable[[Page], Iterable[Row]], *, limit: int
) -> list[Row]:
    """Up to `limit` rows of what `query` asks for; it is asked anew for each page. Raises what `ask` raises."""
    rows: list[Row] = []
    while len(rows) < limit:
        query.page_size = min(limit - len(rows), LARGEST_PAGE)
        page = await ask(query)
        rows.extend(rows_of(page))
        if not page.next_page_token:
            break
        query.page_token = page.next_page_token
    return rows
