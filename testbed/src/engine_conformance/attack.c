// What a hostile container tries that no shell can say. Each word prints what it found on a line.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 1500 };

// Doors into the kernel that a container has no business with. The arguments are such that a kernel that
// looks at them finds them wrong, or does no harm.
struct door {
    const char *name;
    long number, arguments[6];
};
// Seccomp sees all 64 bits of a register, and the kernel takes 32 for the family.
#define HIGH 0x100000000L
static const struct door doors[] = {
    {"acct", SYS_acct, {0}},
    {"add_key", SYS_add_key, {(long)"user", (long)"apocryph", (long)"x", 1, -2}},
    {"bpf", SYS_bpf, {0, 0, 0}},
    {"clone-user", SYS_clone, {CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0}},
    {"clone-net", SYS_clone, {CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0}},
    {"delete_module", SYS_delete_module, {(long)"nothing", 0}},
    {"fsopen", SYS_fsopen, {(long)"tmpfs", 0}},
    {"init_module", SYS_init_module, {0, 0, (long)""}},
    {"kexec_load", SYS_kexec_load, {0, 0, 0, 0}},
    {"keyctl", SYS_keyctl, {0, -3, 1}},
    {"mknod", SYS_mknodat, {AT_FDCWD, (long)"/tmp/disk", S_IFBLK | 0600, 0xfe00}},
    {"mount", SYS_mount, {(long)"none", (long)"/tmp", (long)"tmpfs", 0, 0}},
    {"move_mount", SYS_move_mount, {-1, (long)"", -1, (long)"", 0}},
    {"open_by_handle_at", SYS_open_by_handle_at, {-1, 0, 0}},
    {"open_tree", SYS_open_tree, {AT_FDCWD, (long)"/", 1}},
    {"perf_event_open", SYS_perf_event_open, {0, 0, -1, -1, 0}},
    {"pivot_root", SYS_pivot_root, {(long)"/tmp", (long)"/tmp"}},
    {"quotactl", SYS_quotactl, {0, 0, 0, 0}},
    {"reboot", SYS_reboot, {0, 0, 0, 0}},
    {"request_key", SYS_request_key, {(long)"user", (long)"apocryph", 0, -2}},
    {"sethostname", SYS_sethostname, {(long)"other", 5}},
    {"setns", SYS_setns, {-1, 0}},
    {"settimeofday", SYS_settimeofday, {1, 0}},
    {"socket-raw", SYS_socket, {AF_INET, SOCK_RAW, IPPROTO_ICMP}},
    {"socket-raw6", SYS_socket, {AF_INET6, SOCK_RAW, IPPROTO_ICMPV6}},
    {"socket-packet", SYS_socket, {AF_PACKET, SOCK_RAW, 0x0300}},
    {"socket-vsock", SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}},
    {"socket-vsock-high", SYS_socket, {HIGH | AF_VSOCK, SOCK_STREAM, 0}},
    {"socket-alg-high", SYS_socket, {HIGH | AF_ALG, SOCK_SEQPACKET, 0}},
    {"swapon", SYS_swapon, {(long)"/nothing", 0}},
    {"syslog", SYS_syslog, {3, 0, 0}},
    {"umount", SYS_umount2, {(long)"/proc", 2 /* MNT_DETACH */}},
    {"unshare-mount", SYS_unshare, {CLONE_NEWNS}},
    {"unshare-user", SYS_unshare, {CLONE_NEWUSER}},
    {"userfaultfd", SYS_userfaultfd, {1}},
};

static int is_refusal(int error) {
    return error == EPERM || error == EACCES || error == ENOSYS || error == EAFNOSUPPORT;
}

// Names the doors that are open.
static void calls(void) {
    int open = 0;
    for (size_t n = 0; n < sizeof doors / sizeof *doors; n++) {
        const long *a = doors[n].arguments;
        long done = syscall(doors[n].number, a[0], a[1], a[2], a[3], a[4], a[5]);
        // The child of an open one.
        if (done == 0 && doors[n].number == SYS_clone) _exit(0);
        if (done >= 0 || !is_refusal(errno)) {
            printf("open %s %d\n", doors[n].name, done < 0 ? errno : 0);
            open++;
        }
    }
    printf("%d doors open\n", open);
}

static int written;
static int try_to_write(const char *path, const struct stat *stat, int kind, struct FTW *where) {
    (void)stat, (void)where;
    if (kind != FTW_F || strncmp(path, "/sys/fs/cgroup/unified", 22) == 0) return 0;
    int file = open(path, O_WRONLY | O_NONBLOCK);
    if (file >= 0) {
        printf("writable %s\n", path);
        written++;
        close(file);
    }
    return 0;
}

// What steers the kernel, and what would show the host's memory or keys.
static void writes(void) {
    const char *trees[] = {"/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/sys"};
    for (size_t n = 0; n < sizeof trees / sizeof *trees; n++) nftw(trees[n], try_to_write, 16, FTW_PHYS);
    int file = open("/proc/sysrq-trigger", O_WRONLY);
    if (file >= 0) written += printf("writable /proc/sysrq-trigger\n") > 0;
    file = open("/proc/self/oom_score_adj", O_WRONLY);
    if (file >= 0 && write(file, "-1000", 5) == 5) written += printf("writable oom_score_adj\n") > 0;
    const char *secrets[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/dev/mem", "/dev/kmsg", "/dev/vda"};
    for (size_t n = 0; n < sizeof secrets / sizeof *secrets; n++) {
        char byte;
        file = open(secrets[n], O_RDONLY | O_NONBLOCK);
        if (file >= 0 && read(file, &byte, 1) == 1) written += printf("readable %s\n", secrets[n]) > 0;
    }
    printf("%d files open\n", written);
}

// Files of the image that are devices: any that answers is told.
static void devices(const char *folder) {
    int open_devices = 0;
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        char path[512], byte;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        int file = entry->d_name[0] == '.' ? -1 : open(path, O_RDONLY | O_NONBLOCK);
        if (file >= 0 && read(file, &byte, 1) >= 0) open_devices += printf("readable %s\n", path) > 0;
    }
    printf("%d devices open\n", open_devices);
}

static socklen_t parse(const char *text, const char *port, struct sockaddr_storage *address) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET, v4->sin_port = htons(atoi(port));
        return sizeof *v4;
    }
    inet_pton(AF_INET6, text, &v6->sin6_addr);
    v6->sin6_family = AF_INET6, v6->sin6_port = htons(atoi(port));
    v6->sin6_scope_id = if_nametoindex("eth0");
    return sizeof *v6;
}

// Whether a connection is taken; -1 where it cannot be tried yet: an address of one's own comes up late.
static int connects(const struct sockaddr_storage *address, socklen_t length) {
    int stream = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
    socklen_t size = sizeof error;
    if (connect(stream, (const struct sockaddr *)address, length) && errno != EINPROGRESS) return close(stream), -1;
    struct pollfd writable = {stream, POLLOUT, 0};
    return poll(&writable, 1, PATIENCE_MS) == 1 && !getsockopt(stream, SOL_SOCKET, SO_ERROR, &error, &size) && !error;
}

// Tells on which address a connection is taken; nothing where none is.
static void reach(const char *text, const char *port) {
    struct sockaddr_storage address;
    socklen_t length = parse(text, port, &address);
    int reached = -1;
    for (int tries = 0; reached < 0 && tries < 30; tries++) {
        reached = connects(&address, length);
        if (reached < 0) usleep(100000);
    }
    if (reached > 0) printf("reached %s %s\n", text, port);
}

static void send_to(const char *text, const char *port, const char *word) {
    struct sockaddr_storage address;
    socklen_t length = parse(text, port, &address);
    sendto(socket(address.ss_family, SOCK_DGRAM, 0), word, strlen(word), 0, (struct sockaddr *)&address, length);
}

// Sends in the name of another.
static void spoof(const char *other, const char *text, const char *port) {
    struct sockaddr_storage from, to;
    int on = 1, done = 0;
    socklen_t length = parse(other, "0", &from);
    parse(text, port, &to);
    int socket_ = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(socket_, SOL_IP, 15 /* IP_FREEBIND */, &on, sizeof on);
    if (!bind(socket_, (struct sockaddr *)&from, length))
        done = sendto(socket_, "spoofed", 7, 0, (struct sockaddr *)&to, length) == 7;
    printf(done ? "spoofed\n" : "not spoofed\n");
}

static void ping(const char *text) {
    struct sockaddr_storage address;
    socklen_t length = parse(text, "0", &address);
    int v6 = address.ss_family == AF_INET6;
    int socket_ = socket(address.ss_family, SOCK_DGRAM, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    struct icmphdr echo = {.type = v6 ? 128 : ICMP_ECHO};
    struct pollfd readable = {socket_, POLLIN, 0};
    char answer[64];
    if (socket_ < 0 || sendto(socket_, &echo, sizeof echo, 0, (struct sockaddr *)&address, length) < 0) return;
    if (poll(&readable, 1, PATIENCE_MS) == 1 && recv(socket_, answer, sizeof answer, 0) > 0)
        printf("answered %s\n", text);
}

// Tells who connects, and what comes by UDP, on a port of all addresses.
static void listen_on(const char *port) {
    struct sockaddr_in6 all = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(port))};
    struct sockaddr_in all4 = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    int streams = socket(AF_INET6, SOCK_STREAM, 0), packets = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr *address = (struct sockaddr *)&all;
    socklen_t length = sizeof all;
    if (streams < 0) {
        streams = socket(AF_INET, SOCK_STREAM, 0), packets = socket(AF_INET, SOCK_DGRAM, 0);
        address = (struct sockaddr *)&all4, length = sizeof all4;
    }
    if (bind(streams, address, length) || bind(packets, address, length) || listen(streams, 16)) perror("listen");
    printf("listening\n");
    for (;;) {
        struct pollfd both[2] = {{streams, POLLIN, 0}, {packets, POLLIN, 0}};
        char word[64];
        poll(both, 2, -1);
        if (both[0].revents) close(accept(streams, 0, 0)), printf("tcp\n");
        if (both[1].revents) {
            ssize_t read_ = recv(packets, word, sizeof word, 0);
            printf("udp %.*s\n", (int)read_, word);
        }
    }
}

// Processes, until there are no more.
static void forks(int enough) {
    int count = 0;
    pid_t child;
    while (count < enough && (child = fork()) > 0) count++;
    if (child == 0) pause();
    printf(count < enough ? "bounded\n" : "unbounded\n");
    pause();
}

// All watches for changes of files that the kernel gives to one user.
static void watches(void) {
    while (inotify_init1(0) >= 0) {}
    printf("taken\n");
    pause();
}

// Folders in each other, with long names, and a file in the innermost.
static void nest(const char *folder, int depth, int megabytes) {
    static char name[201], block[1 << 20];
    memset(name, 'n', sizeof name - 1);
    memset(block, 'x', sizeof block);
    if (chdir(folder)) exit(1);
    for (int n = 0; n < depth; n++)
        if (mkdir(name, 0777) || chdir(name)) break;
    int file = open("file", O_WRONLY | O_CREAT, 0666);
    for (int n = 0; n < megabytes; n++)
        if (write(file, block, sizeof block) < 0) break;
    printf("nested\n");
}

// A file that has no name any more, with far more than is reserved: not more, or a test that fails fills the
// disk. Takes no notice of a signal to end.
static void nameless(const char *path) {
    static char block[1 << 20];
    memset(block, 'x', sizeof block);
    signal(SIGTERM, SIG_IGN);
    int file = open(path, O_WRONLY | O_CREAT, 0666);
    unlink(path);
    for (int n = 0; n < 256 && write(file, block, sizeof block) > 0; n++) {}
    for (;;) pause();
}

int main(int count, char **words) {
    const char *word = count > 1 ? words[1] : "";
    setvbuf(stdout, 0, _IOLBF, 0);
    if (!strcmp(word, "calls")) calls();
    if (!strcmp(word, "writes")) writes();
    if (!strcmp(word, "devices")) devices(words[2]);
    if (!strcmp(word, "whoami")) printf("%d\n", setuid(0) ? (int)geteuid() : 0);
    if (!strcmp(word, "reach")) reach(words[2], words[3]);
    if (!strcmp(word, "send")) send_to(words[2], words[3], words[4]);
    if (!strcmp(word, "spoof")) spoof(words[2], words[3], words[4]);
    if (!strcmp(word, "ping")) ping(words[2]);
    if (!strcmp(word, "listen")) listen_on(words[2]);
    if (!strcmp(word, "forks")) forks(atoi(words[2]));
    if (!strcmp(word, "watches")) watches();
    if (!strcmp(word, "nest")) nest(words[2], atoi(words[3]), atoi(words[4]));
    if (!strcmp(word, "nameless")) nameless(words[2]);
    return 0;
}
