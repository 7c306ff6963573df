#!/usr/bin/env python3
"""floor.py SOURCE TARGET: what any copy must at least do: read the data extents of a sparse file, write them.

One thread, 1 MiB a call, no look at what is copied, no check. The target must be as large and empty.
"""
import errno
import os
import sys

CHUNK = 1 << 20


def data_extents(fd, size):
    end = 0
    while end < size:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, end


def copy(source, target):
    buffer = memoryview(bytearray(CHUNK))
    for begin, end in data_extents(source, os.fstat(source).st_size):
        while begin < end:
            count = os.preadv(source, [buffer[: min(CHUNK, end - begin)]], begin)
            begin += os.pwrite(target, buffer[:count], begin)


if __name__ == "__main__":
    copy(os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_WRONLY))
