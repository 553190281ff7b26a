"""Fetch a thousand pages, eight at a time; after kill -9 fetch only those that are missing.

Run it, kill it when you like (``kill -9``), and run it again::

    python async_fetch.py                  # a few seconds
    python async_fetch.py --pages 5000     # later: the first thousand are there

The pages come from a server that this script starts itself, on this machine. A batch of pages is
fetched at the same time and yielded as one increment, so trax logs what was fetched, and a run
that resumes asks only for the rest. Logging and checkpoints never hold up the event loop.
"""

import argparse
import asyncio
import hashlib
import sys
from collections.abc import AsyncGenerator

import trax

BATCH = 8
served = 0


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request for /NUMBER, as slowly as a network would."""
    global served  # noqa: PLW0603  # counts what this process has sent
    number = (await reader.readline()).split()[1].decode().lstrip("/")
    await asyncio.sleep(0.01)
    served += 1
    writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + hashlib.sha256(number.encode()).hexdigest().encode())
    await writer.drain()
    writer.close()


async def fetch(port: int, number: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /{number} HTTP/1.0\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer.partition("\r\n\r\n")[2]


def add(pages: dict[int, str], batch: dict[int, str]) -> dict[int, str]:
    pages.update(batch)
    return pages


@trax.resumable(create=dict, replay_log=add, every_steps=10, varying=("numbers", "port"))
async def crawl(
    pages: dict[int, str], numbers: range, port: int
) -> AsyncGenerator[dict[int, str], dict[int, str]]:
    missing = [number for number in numbers if number not in pages]
    for begin in range(0, len(missing), BATCH):
        batch = missing[begin : begin + BATCH]
        answers = await asyncio.gather(*(fetch(port, number) for number in batch))
        pages = yield dict(zip(batch, answers, strict=True))


async def main(count: int) -> None:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        pages = await crawl(range(count), port).result()
    print(f"{served} pages were asked for", file=sys.stderr)
    content = "".join(pages[number] for number in range(count))
    print(count, "pages", hashlib.sha256(content.encode()).hexdigest())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=1000)
    asyncio.run(main(parser.parse_args().pages))
