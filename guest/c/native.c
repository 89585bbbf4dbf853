/* The whole bridge between zinit's TypeScript and the kernel: one raw system call, a fork that can enter a cgroup, an
 * exec. What a call means is decided in TypeScript; here is only what JavaScript cannot do, hold pointers. */
#define _GNU_SOURCE
#include "native.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A string's bytes, malloced, and how many. U+DC80..U+DCFF stand for single bytes that are not UTF-8 (PEP 383). */
static char *encode(JSContext *ctx, JSValueConst value, size_t *size) {
  size_t length;
  const char *utf8 = JS_ToCStringLen(ctx, &length, value);
  if (!utf8) return NULL;
  char *out = malloc(length + 1);
  if (out) {
    char *to = out;
    for (size_t i = 0; i < length;) {
      const unsigned char *c = (const unsigned char *)utf8 + i;
      if (i + 2 < length && c[0] == 0xed && (c[1] & 0xfe) == 0xb2) {
        *to++ = (char)((c[1] & 1) << 6 | (c[2] & 0x3f) | 0x80);
        i += 3;
      } else {
        *to++ = utf8[i++];
      }
    }
    *to = 0;
    *size = (size_t)(to - out);
  }
  JS_FreeCString(ctx, utf8);
  return out;
}

/* The same as a C string; NULL for a NUL inside, which would cut a path short. */
static char *text(JSContext *ctx, JSValueConst value) {
  size_t length;
  char *out = encode(ctx, value, &length);
  if (out && strlen(out) == length) return out;
  free(out);
  return NULL;
}

/* Where a typed array's bytes are; NULL (and no exception) when it is none. */
static uint8_t *bytes(JSContext *ctx, JSValueConst value, size_t *length) {
  size_t offset, size, element;
  JSValue buffer = JS_GetTypedArrayBuffer(ctx, value, &offset, length, &element);
  if (JS_IsException(buffer)) {
    JS_FreeValue(ctx, JS_GetException(ctx));
    return NULL;
  }
  uint8_t *base = JS_GetArrayBuffer(ctx, &size, buffer);
  JS_FreeValue(ctx, buffer); /* the array keeps it alive for the length of the call */
  return base ? base + offset : NULL;
}

static void release(JSRuntime *runtime, void *opaque, void *pointer) { free(pointer); }

/* encode(string): its bytes as an ArrayBuffer. */
static JSValue js_encode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  size_t length;
  char *out = argc > 0 ? encode(ctx, argv[0], &length) : NULL;
  return out ? JS_NewArrayBuffer(ctx, (uint8_t *)out, length, release, NULL, 0) : JS_EXCEPTION;
}

/* decode(array, from, to): a string; null when the bytes are not all ASCII, which is left to the caller. */
static JSValue js_decode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  size_t length;
  uint32_t from, to;
  uint8_t *base = argc > 2 ? bytes(ctx, argv[0], &length) : NULL;
  if (!base || JS_ToUint32(ctx, &from, argv[1]) < 0 || JS_ToUint32(ctx, &to, argv[2]) < 0) return JS_NULL;
  if (from > to || to > length) return JS_NULL;
  for (uint32_t at = from; at < to; at++)
    if (base[at] >= 0x80) return JS_NULL;
  return JS_NewStringLen(ctx, (char *)base + from, to - from);
}

/* syscall(number, ...up to six): numbers as they are, strings as C strings, typed arrays as pointers, null as 0.
 * Gives the result, or -errno. */
static JSValue js_syscall(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  long a[7] = {0};
  char *owned[7];
  int held = 0, bad = argc < 1 || argc > 7;
  for (int i = 0; i < argc && !bad; i++) {
    int64_t number;
    size_t length;
    if (JS_IsNumber(argv[i])) {
      bad = JS_ToInt64(ctx, &number, argv[i]) < 0;
      a[i] = (long)number;
    } else if (JS_IsString(argv[i])) {
      char *string = text(ctx, argv[i]);
      bad = !string;
      if (string) owned[held++] = string;
      a[i] = (long)string;
    } else if (!JS_IsNull(argv[i]) && !JS_IsUndefined(argv[i])) {
      a[i] = (long)bytes(ctx, argv[i], &length);
      bad = !a[i];
    }
  }
  long result = -EINVAL;
  if (!bad) {
    result = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    if (result == -1) result = -errno;
  }
  while (held) free(owned[--held]);
  return JS_NewInt64(ctx, result);
}

/* fork(flags, cgroup): clone3 with CLONE_* flags, into the cgroup v2 folder open as CGROUP unless that is -1. */
static JSValue js_fork(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  int64_t flags;
  int32_t cgroup;
  if (argc < 2 || JS_ToInt64(ctx, &flags, argv[0]) < 0 || JS_ToInt32(ctx, &cgroup, argv[1]) < 0) return JS_EXCEPTION;
  uint64_t args[11] = {0}; /* struct clone_args, linux/sched.h */
  args[0] = (uint64_t)flags;
  args[4] = SIGCHLD;
  if (cgroup >= 0) {
    args[0] |= 0x200000000ULL; /* CLONE_INTO_CGROUP */
    args[10] = (uint64_t)cgroup;
  }
  long result = syscall(SYS_clone3, args, sizeof args);
  return JS_NewInt64(ctx, result == -1 ? -errno : result);
}

static void free_vector(char **list) {
  if (!list) return;
  for (char **at = list; *at; at++) free(*at);
  free(list);
}

static char **vector(JSContext *ctx, JSValueConst array) {
  int64_t length;
  JSValue size = JS_GetPropertyStr(ctx, array, "length");
  if (JS_ToInt64(ctx, &length, size) < 0 || length < 0 || length > 1 << 20) return NULL;
  char **list = calloc((size_t)length + 1, sizeof *list);
  for (int64_t i = 0; list && i < length; i++) {
    JSValue item = JS_GetPropertyUint32(ctx, array, (uint32_t)i);
    list[i] = text(ctx, item);
    JS_FreeValue(ctx, item);
    if (!list[i]) {
      free_vector(list);
      return NULL;
    }
  }
  return list;
}

/* execve(path, argv, env): returns -errno, or not at all. */
static JSValue js_execve(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  if (argc < 3) return JS_NewInt32(ctx, -EINVAL);
  char *path = text(ctx, argv[0]), **args = vector(ctx, argv[1]), **env = vector(ctx, argv[2]);
  int result = -EINVAL;
  if (path && args && env) {
    execve(path, args, env);
    result = -errno;
  }
  free(path);
  free_vector(args);
  free_vector(env);
  return JS_NewInt32(ctx, result);
}

#define N(name) {#name, SYS_##name}
/* Only calls that every architecture has. */
static const struct {
  const char *name;
  long number;
} numbers[] = {
    N(accept4), N(adjtimex), N(bind), N(capset), N(chdir), N(chroot), N(clock_gettime), N(clock_settime), N(close),
    N(close_range), N(connect),
    N(dup3), N(epoll_create1), N(epoll_ctl), N(epoll_pwait), N(exit_group), N(fchdir), N(fchmodat), N(fchown),
    N(fchownat), N(fcntl), N(finit_module), N(fstatfs), N(fsync), N(ftruncate), N(getdents64), N(getpid), N(getsockopt),
    N(ioctl), N(kill), N(linkat), N(mkdirat), N(mknodat), N(mount), N(openat), N(openat2), N(pidfd_open), N(pipe2),
    N(pivot_root), N(prctl), N(prlimit64), N(read), N(readlinkat), N(reboot),
    N(renameat2), N(rt_sigprocmask), N(sched_getaffinity), N(sched_setscheduler), N(setdomainname),
    N(setgid), N(setgroups), N(sethostname), N(setns), N(setresgid), N(setresuid), N(setsid), N(setsockopt), N(shutdown),
    N(signalfd4), N(socket), N(statx), N(symlinkat), N(sync), N(syncfs), N(umask), N(umount2), N(unlinkat), N(unshare),
    N(utimensat), N(waitid), N(wait4), N(write),
};

void native_install(JSContext *ctx, const char *wanted) {
  JSValue global = JS_GetGlobalObject(ctx), native = JS_NewObject(ctx), table = JS_NewObject(ctx);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    JS_SetPropertyStr(ctx, table, numbers[i].name, JS_NewInt32(ctx, (int)numbers[i].number));
  JS_SetPropertyStr(ctx, native, "nr", table);
  /* packed on x86-64 only */
  JS_SetPropertyStr(ctx, native, "epollEvent", JS_NewInt32(ctx, sizeof(struct epoll_event)));
  JS_SetPropertyStr(ctx, native, "epollData", JS_NewInt32(ctx, offsetof(struct epoll_event, data)));
  JS_SetPropertyStr(ctx, native, "syscall", JS_NewCFunction(ctx, js_syscall, "syscall", 7));
  JS_SetPropertyStr(ctx, native, "encode", JS_NewCFunction(ctx, js_encode, "encode", 1));
  JS_SetPropertyStr(ctx, native, "decode", JS_NewCFunction(ctx, js_decode, "decode", 3));
  JS_SetPropertyStr(ctx, native, "fork", JS_NewCFunction(ctx, js_fork, "fork", 2));
  JS_SetPropertyStr(ctx, native, "execve", JS_NewCFunction(ctx, js_execve, "execve", 3));
  JS_SetPropertyStr(ctx, native, "wanted", wanted ? JS_NewString(ctx, wanted) : JS_NULL);
  JS_SetPropertyStr(ctx, global, "native", native);
  JS_FreeValue(ctx, global);
}
