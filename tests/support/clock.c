/* Preloaded, it makes a process's wall clock go WALL_CLOCK_SHIFT seconds ahead; everything else is as it was.

   What is waited for until a time of day is shifted back, for the kernel's clock is right: waits of the pthread library and of
   futexes. A monotonic time is never as large as a time of day. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define DAYTIME 1000000000

static time_t shift(void) {
  static time_t known;
  static int read;
  if (!read) {
    const char *text = getenv("WALL_CLOCK_SHIFT");
    known = text ? atol(text) : 0;
    read = 1;
  }
  return known;
}

static const struct timespec *back(const struct timespec *until, struct timespec *room) {
  if (!until || until->tv_sec < DAYTIME) return until;
  *room = *until;
  room->tv_sec -= shift();
  return room;
}

int clock_gettime(clockid_t clock, struct timespec *out) {
  static int (*next)(clockid_t, struct timespec *);
  if (!next) next = NEXT(clock_gettime);
  int failed = next(clock, out);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) out->tv_sec += shift();
  return failed;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  int failed = NEXT(gettimeofday)(out, zone);
  if (!failed) out->tv_sec += shift();
  return failed;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec *out, int base) {
  return clock_gettime(CLOCK_REALTIME, out) ? 0 : base;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *rest) {
  struct timespec room;
  return NEXT(clock_nanosleep)(clock, flags, flags & TIMER_ABSTIME ? back(until, &room) : until, rest);
}

int pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m, const struct timespec *restrict until) {
  static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  struct timespec room;
  if (!next) {
    /* Of the two that there are on x86-64 the one that is not of the last century. */
    *(void **)&next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!next) next = NEXT(pthread_cond_timedwait);
  }
  return next(c, m, back(until, &room));
}

int pthread_cond_clockwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m, clockid_t clock,
                           const struct timespec *restrict until) {
  struct timespec room;
  return NEXT(pthread_cond_clockwait)(c, m, clock, back(until, &room));
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict m, const struct timespec *restrict until) {
  struct timespec room;
  return NEXT(pthread_mutex_timedlock)(m, back(until, &room));
}

int sem_timedwait(sem_t *restrict s, const struct timespec *restrict until) {
  struct timespec room;
  return NEXT(sem_timedwait)(s, back(until, &room));
}

int sem_clockwait(sem_t *restrict s, clockid_t clock, const struct timespec *restrict until) {
  struct timespec room;
  return NEXT(sem_clockwait)(s, clock, back(until, &room));
}

long syscall(long number, ...) {
  static long (*next)(long, ...);
  if (!next) next = (long (*)(long, ...))NEXT(syscall);
  va_list given;
  va_start(given, number);
  long a[6];
  for (int at = 0; at < 6; at++) a[at] = va_arg(given, long);
  va_end(given);
  struct timespec room;
  if (number == SYS_futex && (a[1] & FUTEX_CLOCK_REALTIME)) a[3] = (long)back((const struct timespec *)a[3], &room);
  return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
