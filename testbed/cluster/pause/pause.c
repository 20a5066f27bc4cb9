/* The first process of a pod: holds its namespaces, collects orphans, ends when told to. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) {
    (void)signal;
    _exit(0);
}

int main(void) {
    struct sigaction ending = {.sa_handler = end};
    /* Children that end leave no zombies behind. */
    struct sigaction ignoring = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    if (sigaction(SIGINT, &ending, NULL) || sigaction(SIGTERM, &ending, NULL) || sigaction(SIGCHLD, &ignoring, NULL))
        return 1;
    for (;;)
        pause();
}
