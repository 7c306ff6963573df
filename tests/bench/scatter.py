#!/usr/bin/env python3
"""scatter.py IMAGE OFFSET: overwrites 256 pieces of 64 KiB, always the same, in what is stored of a sparse image.

Only in large runs of data behind OFFSET + 256 MiB: contents of files, not structures that the next copy decides by.
"""
import os
import random
import sys

PIECE = 1 << 16
rng = random.Random(1)


def large_runs(fd, begin, size):
    end = begin
    while True:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(fd, begin, os.SEEK_HOLE)
        if end - begin > 16 << 20:
            yield begin, end


def scatter(image, offset):
    fd = os.open(image, os.O_RDWR)
    runs = list(large_runs(fd, offset + (256 << 20), os.fstat(fd).st_size))
    for _ in range(256):
        begin, end = rng.choice(runs)
        os.pwrite(fd, rng.randbytes(PIECE), rng.randrange(begin, end - PIECE) & ~4095)


scatter(sys.argv[1], int(sys.argv[2]))
