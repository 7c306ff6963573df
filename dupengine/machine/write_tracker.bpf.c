// SPDX-License-Identifier: MIT OR GPL-2.0-only
// Runs in the kernel, which lets only such a program look at its types: marks what of one disk was written,
// when the device says that it is done. A block that was read before a write landed is so always marked
// afterwards. See write_tracker.h.

// clang-format off: the types have to come first
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
// clang-format on

// Of the kernel's own types, what is read of them; where it lies is found out when the program is loaded.
struct gendisk {
    int major;
    int first_minor;
} __attribute__((preserve_access_index));

struct request_queue {
    struct gendisk* disk;
} __attribute__((preserve_access_index));

struct bvec_iter {
    unsigned long long bi_sector;
    unsigned int bi_size;
} __attribute__((preserve_access_index));

struct bio {
    struct bio* bi_next;
    struct bvec_iter bi_iter;
} __attribute__((preserve_access_index));

struct request {
    struct request_queue* q;
    unsigned int cmd_flags;
    unsigned long long __sector;
    struct bio* bio;
} __attribute__((preserve_access_index));

// Of the operations in cmd_flags (include/linux/blk_types.h) those with an odd number send data.
#define OPERATION 0xff
#define SENDS_DATA 1
#define DISCARD 3
#define PASSED_THROUGH 35
// The most ranges that one request discards, of all devices.
#define MOST_RANGES 256

// Set before it is loaded.
const volatile int disk_major = 0;
const volatile int disk_minor = 0;
const volatile unsigned int granule_shift = 0;  // 512 << this many bytes belong to one bit
const volatile unsigned long long granules = 0;

// Not 0: something was written, and the device was not told where in a way that shows.
unsigned int lost = 0;

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);  // set before it is loaded
    __type(key, unsigned int);
    __type(value, unsigned long long);
} written SEC(".maps");

static long mark(unsigned int index, void* first) {
    const unsigned long long granule = *(unsigned long long*)first + index;
    if (granule >= granules) return 1;
    const unsigned int word = (unsigned int)(granule >> 6);
    unsigned long long* bits = bpf_map_lookup_elem(&written, &word);
    if (bits) __sync_fetch_and_or(bits, 1ULL << (granule & 63));
    return 0;
}

static void mark_range(unsigned long long sector, unsigned int bytes) {
    if (bytes == 0) return;
    unsigned long long first = sector >> granule_shift;
    const unsigned long long last = (sector + ((bytes - 1) >> 9)) >> granule_shift;
    bpf_loop((unsigned int)(last - first + 1), mark, &first, 0);
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(on_complete, struct request* request, unsigned char error, unsigned int bytes) {
    // A failed write may have landed in part.
    (void)error;
    const unsigned int operation = request->cmd_flags & OPERATION;
    if ((operation & SENDS_DATA) == 0) return 0;
    struct gendisk* disk = request->q->disk;
    if (!disk || disk->major != disk_major || disk->first_minor != disk_minor) return 0;
    if (operation == PASSED_THROUGH) {
        lost = 1;
        return 0;
    }
    if (operation != DISCARD) {
        mark_range(request->__sector, bytes);
        return 0;
    }
    // One request discards ranges that do not follow each other.
    struct bio* bio = request->bio;
    for (int i = 0; i < MOST_RANGES && bio; ++i, bio = bio->bi_next)
        mark_range(bio->bi_iter.bi_sector, bio->bi_iter.bi_size);
    if (bio) lost = 1;
    return 0;
}

char program_license[] SEC("license") = "Dual MIT/GPL";
