// A web server at port 8080 that answers with its own times, in nanoseconds of the monotonic clock,
// which all containers of a machine share with it: since when it listens, when it accepted its first
// connection, when it had read this request, when it answered. One connection at a time.
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// Whether a whole request came; nobody keeps the others waiting for long.
static int read_head(int client) {
    struct timeval patience = {.tv_sec = 1};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char head[8192];
    size_t length = 0;
    for (;;) {
        ssize_t more = read(client, head + length, sizeof head - 1 - length);
        if (more <= 0) return 0;
        length += more;
        head[length] = 0;
        if (strstr(head, "\r\n\r\n")) return 1;
    }
}

static void answer(int client, long long listening, long long accepted) {
    long long read = now();
    char body[256], text[512];
    int length = snprintf(body, sizeof body,
                          "{\"listening\": %lld, \"accepted\": %lld, \"read\": %lld, \"answered\": %lld}",
                          listening, accepted, read, now());
    length = snprintf(text, sizeof text,
                      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                      "Content-Length: %d\r\nConnection: close\r\n\r\n%s",
                      length, body);
    // A client that has left needs no answer.
    if (write(client, text, length) != length) perror("write");
}

static void end(int signal) { _exit(signal == SIGTERM ? 0 : 1); }

int main(void) {
    signal(SIGTERM, end);
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(8080)};
    int door = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(door, (struct sockaddr *)&here, sizeof here) || listen(door, 128)) {
        perror("port 8080");
        return 1;
    }
    long long listening = now(), accepted = 0;
    for (;;) {
        int client = accept(door, NULL, NULL);
        if (client < 0) continue;
        if (!accepted) accepted = now();
        if (read_head(client)) answer(client, listening, accepted);
        close(client);
    }
}
