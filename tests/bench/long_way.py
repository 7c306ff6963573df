#!/usr/bin/env python3
"""long_way.py PORT TO [MS [MIB]]: what comes to PORT of 127.0.0.1 goes on to its port TO, MS milliseconds (25) later, and so
back, with at most MIB MiB (4) of a connection under way in each direction: a long way, and what TCP does with it by default."""
import asyncio
import sys

port, to = int(sys.argv[1]), int(sys.argv[2])
delay = (float(sys.argv[3]) if len(sys.argv) > 3 else 25) / 1000
room = int(sys.argv[4] if len(sys.argv) > 4 else 4) << 20


async def carry(reader, writer):
    loop = asyncio.get_running_loop()
    under_way, gone = 0, asyncio.Event()
    queue = asyncio.Queue()

    async def arrive():
        nonlocal under_way
        while (item := await queue.get())[1]:
            due, data = item
            await asyncio.sleep(max(0, due - loop.time()))
            writer.write(data)
            await writer.drain()
            # Its acknowledgement goes the same way back.
            loop.call_later(delay, acknowledge, len(data))
        writer.close()

    def acknowledge(size):
        nonlocal under_way
        under_way -= size
        gone.set()

    arriving = asyncio.create_task(arrive())
    try:
        while True:
            while under_way >= room:
                gone.clear()
                await gone.wait()
            data = await reader.read(min(1 << 18, room - under_way))
            under_way += len(data)
            queue.put_nowait((loop.time() + delay, data))
            if not data:
                break
        await arriving
    except OSError:
        arriving.cancel()
        writer.close()


async def connected(reader, writer):
    try:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", to, limit=1 << 20)
    except OSError:
        writer.close()
        return
    await asyncio.gather(carry(reader, to_writer), carry(to_reader, writer), return_exceptions=True)


async def main():
    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=1 << 20)
    async with server:
        await server.serve_forever()


asyncio.run(main())
