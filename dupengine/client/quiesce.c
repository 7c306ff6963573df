/* See quiesce.h, and dupengine-quiesce(8) for what goes over the socket. */

#define _GNU_SOURCE
#include "client/quiesce.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_FOLDER "/run/dupengine/quiesce"
#define MAX_CALL_BYTES 1024
#define MAX_WHY_BYTES 256
#define MAX_NAME_BYTES 64

struct dupengine_quiesce {
    int poll, listener, connection; /* connection: -1 while no duplication is under way */
    int is_prepared;                /* prepare was answered with yes, and nothing came behind it */
    struct sockaddr_un address;
    char node[MAX_WHY_BYTES], target[MAX_WHY_BYTES]; /* of the last call */
};

static int is_good_name(const char* name) {
    static const char plain[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    const size_t length = strlen(name);
    return length > 3 && length <= MAX_NAME_BYTES && strspn(name, "0123456789") == 2 && name[2] == '-' &&
           strspn(name, plain) == length;
}

/* Root makes the folder; whoever else may listen has to be given it (dupengine-quiesce(8)). */
static void make_default_folder(void) {
    if (geteuid() != 0) return;
    mkdir("/run/dupengine", 0755);
    mkdir(DEFAULT_FOLDER, 0755);
}

static int watch(const struct dupengine_quiesce* quiesce, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    return epoll_ctl(quiesce->poll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

static int new_socket(void) {
    return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* A program that died leaves its socket's file; one that lives answers, or has others waiting. */
static int is_left_behind(const struct sockaddr_un* address) {
    const int fd = new_socket();
    if (fd < 0) return 0;
    const int refused =
        connect(fd, (const struct sockaddr*)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

/* The mode of the socket becomes that of its file: only root connects. */
static int bind_and_listen(struct dupengine_quiesce* quiesce) {
    const struct sockaddr* address = (const struct sockaddr*)&quiesce->address;
    if (fchmod(quiesce->listener, 0600) != 0) return errno;
    if (bind(quiesce->listener, address, sizeof quiesce->address) != 0) {
        if (errno != EADDRINUSE || !is_left_behind(&quiesce->address)) return errno;
        if (unlink(quiesce->address.sun_path) != 0) return errno;
        if (bind(quiesce->listener, address, sizeof quiesce->address) != 0) return errno;
    }
    return listen(quiesce->listener, 4) == 0 ? 0 : errno;
}

/* Anybody can hold the lock for as long as he likes: an honest holder needs no time at all. */
static int lock_for_a_moment(int fd) {
    static const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
    for (int tries = 0; tries < 20; ++tries) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
        if (errno != EWOULDBLOCK && errno != EINTR) return errno;
        nanosleep(&pause, NULL);
    }
    return EBUSY;
}

/* One program at a time looks whether a socket was left behind and takes its place. */
static int take_place(struct dupengine_quiesce* quiesce, const char* folder) {
    const int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0) return errno;
    int failed = lock_for_a_moment(lock);
    if (failed == 0) failed = bind_and_listen(quiesce);
    close(lock);
    return failed;
}

int dupengine_quiesce_open(struct dupengine_quiesce** quiesce, const char* name, const char* folder) {
    if (quiesce == NULL || name == NULL || !is_good_name(name)) return EINVAL;
    struct dupengine_quiesce* made = calloc(1, sizeof *made);
    if (made == NULL) return ENOMEM;
    if (folder == NULL) folder = DEFAULT_FOLDER;
    if (strcmp(folder, DEFAULT_FOLDER) == 0) make_default_folder();
    made->address.sun_family = AF_UNIX;
    made->connection = -1;
    const size_t room = sizeof made->address.sun_path;
    const int length = snprintf(made->address.sun_path, room, "%s/%s.sock", folder, name);
    made->poll = epoll_create1(EPOLL_CLOEXEC);
    made->listener = new_socket();
    int failed = made->poll < 0 || made->listener < 0 ? errno : 0;
    if (length < 0 || (size_t)length >= room) failed = ENAMETOOLONG;
    if (failed == 0) failed = take_place(made, folder);
    const int is_bound = failed == 0;
    if (failed == 0) failed = watch(made, made->listener);
    if (failed != 0) {
        if (is_bound) unlink(made->address.sun_path);
        if (made->poll >= 0) close(made->poll);
        if (made->listener >= 0) close(made->listener);
        free(made);
        return failed;
    }
    *quiesce = made;
    return 0;
}

int dupengine_quiesce_fd(const struct dupengine_quiesce* quiesce) {
    return quiesce->poll;
}

void dupengine_quiesce_close(struct dupengine_quiesce* quiesce) {
    if (quiesce == NULL) return;
    unlink(quiesce->address.sun_path);
    if (quiesce->connection >= 0) close(quiesce->connection);
    close(quiesce->listener);
    close(quiesce->poll);
    free(quiesce);
}

/* Only root, or who runs this program, may ask it to rest. */
static int may_call(int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return 0;
    return peer.uid == 0 || peer.uid == geteuid();
}

/* The next one that may call; others are sent away. While one is connected the others wait. */
static int accept_next(struct dupengine_quiesce* quiesce) {
    while (quiesce->connection < 0) {
        const int fd = accept4(quiesce->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : errno;
        if (!may_call(fd)) {
            close(fd);
            continue;
        }
        const int failed = watch(quiesce, fd);
        if (failed != 0) {
            close(fd);
            return failed;
        }
        /* Nobody else is let in meanwhile, and the listener would make the descriptor ready all the time. */
        epoll_ctl(quiesce->poll, EPOLL_CTL_DEL, quiesce->listener, NULL);
        quiesce->connection = fd;
    }
    return 0;
}

struct message {
    unsigned long number;
    struct dupengine_quiesce_call call;
};

/* Where the value of the line with this key begins, NULL if there is none. */
static char* value_of(char* text, const char* key) {
    const size_t length = strlen(key);
    for (char* line = text; line != NULL && *line != '\0';) {
        char* end = strchr(line, '\n');
        if (strncmp(line, key, length) == 0 && line[length] == ' ') return line + length + 1;
        line = end == NULL ? NULL : end + 1;
    }
    return NULL;
}

static void copy_line(char* to, size_t size, const char* value) {
    const size_t length = value == NULL ? 0 : strcspn(value, "\n");
    snprintf(to, size, "%.*s", (int)length, value == NULL ? "" : value);
}

/* 1 if the text is a call that this version knows. */
static int parse(struct dupengine_quiesce* quiesce, char* text, struct message* message) {
    static const char* const phases[] = {"prepare\n", "resume-source\n", "resume-target\n", "abort\n"};
    if (strncmp(text, "dupengine-quiesce 1\n", 20) != 0) return 0;
    const char *number = value_of(text, "number"), *phase = value_of(text, "phase"),
               *deadline = value_of(text, "deadline_ms");
    if (number == NULL || phase == NULL || deadline == NULL) return 0;
    message->number = strtoul(number, NULL, 10);
    message->call.deadline_ms = (unsigned)strtoul(deadline, NULL, 10);
    copy_line(quiesce->node, sizeof quiesce->node, value_of(text, "node"));
    copy_line(quiesce->target, sizeof quiesce->target, value_of(text, "target"));
    message->call.node = quiesce->node;
    message->call.target = quiesce->target;
    for (int i = 0; i < 4; ++i)
        if (strncmp(phase, phases[i], strlen(phases[i])) == 0) {
            message->call.phase = (enum dupengine_quiesce_phase)(DUPENGINE_PREPARE + i);
            return 1;
        }
    return 0;
}

static void hang_up(struct dupengine_quiesce* quiesce, dupengine_quiesce_callback callback, void* user) {
    char why[MAX_WHY_BYTES] = "";
    close(quiesce->connection); /* which takes it out of the poll set, too */
    quiesce->connection = -1;
    const struct dupengine_quiesce_call aborted = {DUPENGINE_ABORT, 0, quiesce->node, quiesce->target};
    if (quiesce->is_prepared) callback(user, &aborted, why, sizeof why);
    quiesce->is_prepared = 0;
}

/* -1: the connection is of no more use. */
static int answer(struct dupengine_quiesce* quiesce, const struct message* message,
                  dupengine_quiesce_callback callback, void* user) {
    char why[MAX_WHY_BYTES] = "", text[MAX_WHY_BYTES + 64];
    /* Whoever said no, too late to be heard, has nothing to go back from. */
    const int is_due = message->call.phase == DUPENGINE_PREPARE || quiesce->is_prepared;
    const int no = is_due ? callback(user, &message->call, why, sizeof why) : 0;
    why[sizeof why - 1] = '\0';
    why[strcspn(why, "\n")] = '\0';
    quiesce->is_prepared = message->call.phase == DUPENGINE_PREPARE && no == 0;
    const int length = no == 0 ? snprintf(text, sizeof text, "%lu ok\n", message->number)
                               : snprintf(text, sizeof text, "%lu no %s\n", message->number, why);
    return send(quiesce->connection, text, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) == length ? 0 : -1;
}

/* 1: there may be more; 0: not now. */
static int take_call(struct dupengine_quiesce* quiesce, dupengine_quiesce_callback callback, void* user) {
    char text[MAX_CALL_BYTES + 1];
    struct message message;
    const ssize_t n = recv(quiesce->connection, text, sizeof text, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (n > 0 && (size_t)n < sizeof text) {
        text[n] = '\0';
        if (parse(quiesce, text, &message) && answer(quiesce, &message, callback, user) == 0) return 1;
    }
    hang_up(quiesce, callback, user);
    return 0;
}

int dupengine_quiesce_dispatch(struct dupengine_quiesce* quiesce, dupengine_quiesce_callback callback,
                               void* user) {
    if (quiesce->connection < 0) {
        const int failed = accept_next(quiesce);
        if (failed != 0 || quiesce->connection < 0) return failed;
    }
    while (quiesce->connection >= 0 && take_call(quiesce, callback, user)) {
    }
    return quiesce->connection >= 0 ? 0 : watch(quiesce, quiesce->listener);
}
