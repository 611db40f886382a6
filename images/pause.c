// The process that holds a pod's namespaces: waits, reaps orphans, ends on SIGTERM or SIGINT.
//
// No C library: four system calls (Linux, x86-64; man 2 of each) make a program of under 10 KB that
// is the same on every machine. Signals are blocked and taken one by one with rt_sigtimedwait(2): a
// blocked signal is kept even for a PID 1 that has no handler for it.
typedef unsigned long u64;

enum { WAIT4 = 61, RT_SIGPROCMASK = 14, RT_SIGTIMEDWAIT = 128, EXIT_GROUP = 231 };
enum { SIGINT = 2, SIGTERM = 15, SIGCHLD = 17 };
enum { SIG_BLOCK = 0, WNOHANG = 1 };

static long call(long number, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                   : "rcx", "r11", "memory");
  return result;
}

void _start(void) {
  // The kernel's signal set: bit n - 1 is signal n.
  u64 signals = 1ul << (SIGINT - 1) | 1ul << (SIGTERM - 1) | 1ul << (SIGCHLD - 1);
  call(RT_SIGPROCMASK, SIG_BLOCK, (long)&signals, 0, sizeof signals);
  for (;;) {
    long signal = call(RT_SIGTIMEDWAIT, (long)&signals, 0, 0, sizeof signals);
    if (signal == SIGINT || signal == SIGTERM) call(EXIT_GROUP, 0, 0, 0, 0);
    // One SIGCHLD may stand for several children; EINTR (a stop and continue) reaps nothing.
    while (call(WAIT4, -1, 0, WNOHANG, 0) > 0) {
    }
  }
}
