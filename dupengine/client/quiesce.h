#ifndef DUPENGINE_CLIENT_QUIESCE_H
#define DUPENGINE_CLIENT_QUIESCE_H
/* For a program that wants to be asked before the machine it runs on is duplicated, and to be told
 * afterwards.
 *
 *     struct dupengine_quiesce *quiesce;
 *     int failed = dupengine_quiesce_open(&quiesce, "50-db", NULL);          0, or an errno value
 *     ... poll() dupengine_quiesce_fd(quiesce) for POLLIN; when it is ready:
 *     failed = dupengine_quiesce_dispatch(quiesce, my_callback, my_data);
 *
 * The program listens on a socket in a folder, /run/dupengine/quiesce/NAME.sock; dupengine connects to it
 * when a duplication begins. So there is nothing to register with and nothing to reconnect to. Participants
 * are called in the order of their names for DUPENGINE_PREPARE, and in the reverse order afterwards.
 *
 * After DUPENGINE_PREPARE returned 0 exactly one of the other three follows, also when dupengine dies: then
 * the library itself calls with DUPENGINE_ABORT. A callback that is late is not waited for, and gets
 * DUPENGINE_ABORT.
 *
 * Needs nothing but the C library. One thread uses a handle at a time. No signals, threads or global state.
 */

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dupengine_quiesce_phase {
    DUPENGINE_PREPARE = 1,   /* come to rest: nothing half done in memory or on disk; 0 if so */
    DUPENGINE_RESUME_SOURCE, /* go on: this is the machine that was duplicated */
    DUPENGINE_RESUME_TARGET, /* go on: this is the duplicate; what belongs to one machine must be taken up
                                anew */
    DUPENGINE_ABORT          /* go on: nothing happened */
};

struct dupengine_quiesce_call {
    enum dupengine_quiesce_phase phase;
    unsigned deadline_ms; /* how long dupengine waits for the answer */
    const char* node;     /* what this machine is called now; may be empty */
    const char* target;   /* where the duplicate goes; may be empty */
};

/* Returns 0, or another number for "no"; then `why`, of `why_size` bytes, may be filled with a short text. */
typedef int (*dupengine_quiesce_callback)(void* user, const struct dupengine_quiesce_call* call, char* why,
                                          size_t why_size);

struct dupengine_quiesce;

/* `name`: two digits, a hyphen, then letters, digits, '-' and '_', at most 64 bytes. `folder`: NULL for
 * /run/dupengine/quiesce, which root makes if it is not there. Returns 0 or an errno value: EADDRINUSE if a
 * program that runs has this name, EINVAL for a bad name, EBUSY if somebody holds a lock (flock) on the
 * folder for longer than a second: fuser(1) tells who. Waits no longer than that. */
int dupengine_quiesce_open(struct dupengine_quiesce** quiesce, const char* name, const char* folder);

/* A descriptor to poll for POLLIN; it stays the same. */
int dupengine_quiesce_fd(const struct dupengine_quiesce* quiesce);

/* Does what there is to do now, without waiting for more, and calls the callback for each call that came.
 * Returns 0 or an errno value, after which the handle can only be closed. */
int dupengine_quiesce_dispatch(struct dupengine_quiesce* quiesce, dupengine_quiesce_callback callback,
                               void* user);

/* Not from the callback. Nothing is called any more. A duplication for which this program is prepared is
 * called off. */
void dupengine_quiesce_close(struct dupengine_quiesce* quiesce);

#ifdef __cplusplus
}
#endif

#endif
