// The simulated nvidia-cuda-mps-control: the control daemon of MPS, and what asks it.
//
//     nvidia-cuda-mps-control -d   start the daemon; with -M for several users
//     nvidia-cuda-mps-control      send it the commands of standard input, a line each
//
// The daemon listens at `control` in CUDA_MPS_PIPE_DIRECTORY and writes `control.log` in
// CUDA_MPS_LOG_DIRECTORY. No server of it ever runs, and CUDA here takes no notice of it: processes
// share GPUs anyway. Words and exit codes are those of an H200's (driver 580.159.04).
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char *directory(const char *variable, const char *otherwise) {
  const char *chosen = getenv(variable);
  return chosen ? chosen : otherwise;
}

static const char *pipes(void) { return directory("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"); }

static struct sockaddr_un address(void) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  snprintf(at.sun_path, sizeof at.sun_path, "%.90s/control", pipes());
  return at;
}

// A connection to the daemon; -1: there is none.
static int connected(void) {
  struct sockaddr_un at = address();
  int daemon = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(daemon, (struct sockaddr *)&at, sizeof at) == 0) return daemon;
  close(daemon);
  return -1;
}

// ---------------------------------------------------------------- the daemon

static FILE *control_log;

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...) {
  struct timespec now;
  char text[32];
  va_list arguments;
  clock_gettime(CLOCK_REALTIME, &now);
  strftime(text, sizeof text, "%F %T", localtime(&now.tv_sec));
  fprintf(control_log, "[%s.%03ld Control %5d] ", text, now.tv_nsec / 1000000, (int)getpid());
  va_start(arguments, format);
  vfprintf(control_log, format, arguments);
  va_end(arguments);
  fputc('\n', control_log);
  fflush(control_log);
}

static double percentage = 100;

// Does a command; what it answers ends with a zero byte. False: it was the last one.
static bool obey(const char *command, FILE *user, uid_t uid) {
  bool quits = strcmp(command, "quit") == 0 && uid == geteuid();
  note("Cmd:%s", command);
  if (sscanf(command, "set_default_active_thread_percentage %lf", &percentage) == 1 ||
      strcmp(command, "get_default_active_thread_percentage") == 0)
    fprintf(user, "%.1f\n", percentage);
  else if (strcmp(command, "quit") == 0 && !quits)
    fputs("Not enough privilege to execute quit command\n", user);
  else if (!quits && strcmp(command, "get_server_list") != 0 &&
           strncmp(command, "set_default_device_pinned_mem_limit ", 36) != 0)
    fprintf(user, "Unknown command \"%s\"\n", command);
  fputc('\0', user);
  fflush(user);
  return !quits;
}

// Serves one user until it goes. False: the daemon is to end.
static bool serve(int connection) {
  FILE *user = fdopen(connection, "r+");
  struct ucred peer = {.uid = (uid_t)-1};
  socklen_t size = sizeof peer;
  char line[256];
  bool goes_on = true;
  if (!user) return true;
  getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size);
  note("NEW UI");
  while (goes_on && fgets(line, sizeof line, user)) {
    line[strcspn(line, "\n")] = '\0';
    goes_on = obey(line, user, peer.uid);
  }
  note(goes_on ? "UI closed" : "Exit with status 0");
  fclose(user);
  return goes_on;
}

static int fail(const char *what) {
  printf("Cannot make %s: %s\n", what, strerror(errno));
  return 1;
}

static int start(void) {
  int other = connected();
  if (other >= 0) {
    puts("An instance of this daemon is already running");
    return 1;
  }
  struct sockaddr_un at = address();
  char path[512];
  const char *logs = directory("CUDA_MPS_LOG_DIRECTORY", "/var/log/nvidia-mps");
  snprintf(path, sizeof path, "%.400s/control.log", logs);
  control_log = fopen(path, "ae");
  if (!control_log) return fail(path);
  int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  unlink(at.sun_path);
  if (bind(listening, (struct sockaddr *)&at, sizeof at) != 0 || listen(listening, 16) != 0)
    return fail(at.sun_path);
  chmod(at.sun_path, 0666);
  pid_t child = fork();
  if (child != 0) return child < 0 ? fail("a process") : 0;
  setsid();
  signal(SIGPIPE, SIG_IGN);
  int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int stream = 0; stream < 3; stream++) dup2(nothing, stream);
  snprintf(path, sizeof path, "%.400s/nvidia-cuda-mps-control.pid", pipes());
  FILE *file = fopen(path, "we");
  if (file) {
    fprintf(file, "%d", (int)getpid());
    fclose(file);
  }
  note("Starting control daemon using socket %s", at.sun_path);
  note("To connect CUDA applications to this daemon, set env CUDA_MPS_PIPE_DIRECTORY=%s", pipes());
  bool goes_on = true;
  while (goes_on) {
    int connection = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0) continue;
    note("Accepting connection...");
    goes_on = serve(connection);
  }
  unlink(path);
  return 0;
}

// ---------------------------------------------------------------- what asks it

static int ask(void) {
  char line[256];
  int daemon = connected();
  if (daemon < 0) {
    puts("Cannot find MPS control daemon process");
    return 1;
  }
  FILE *answers = fdopen(daemon, "r");
  while (answers && fgets(line, sizeof line, stdin)) {
    if (write(daemon, line, strlen(line)) < 0) return 1;
    for (int letter = fgetc(answers); letter > 0; letter = fgetc(answers)) putchar(letter);
  }
  return 0;
}

int main(int argc, char **argv) {
  bool starts = false;
  for (int option; (option = getopt(argc, argv, "dM")) != -1;) {
    if (option == '?') return 1;
    starts = starts || option == 'd';
  }
  return starts ? start() : ask();
}
