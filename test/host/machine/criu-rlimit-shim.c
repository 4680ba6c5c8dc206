/*
 * For the test host alone, never shipped: lets CRIU run where CAP_SYS_RESOURCE is withheld.
 *
 * CRIU reads the resource limits of each process that it dumps by prlimit(2). For a process of another
 * uid the kernel wants CAP_SYS_RESOURCE and answers EPERM without it, and the dump fails. The same numbers
 * can be read from /proc/PID/limits, so such a read, and nothing else, is answered from there.
 *
 * CRIU reaches the system call by three ways, depending on how it was built: prlimit64(), prlimit() and
 * syscall(SYS_prlimit64, ...). Loaded by LD_PRELOAD; see criuShim.ts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Names of /proc/PID/limits, indexed by RLIMIT_*; see fs/proc/base.c, lnames. */
static const char *const limit_names[] = {
	[RLIMIT_CPU] = "Max cpu time",
	[RLIMIT_FSIZE] = "Max file size",
	[RLIMIT_DATA] = "Max data size",
	[RLIMIT_STACK] = "Max stack size",
	[RLIMIT_CORE] = "Max core file size",
	[RLIMIT_RSS] = "Max resident set",
	[RLIMIT_NPROC] = "Max processes",
	[RLIMIT_NOFILE] = "Max open files",
	[RLIMIT_MEMLOCK] = "Max locked memory",
	[RLIMIT_AS] = "Max address space",
	[RLIMIT_LOCKS] = "Max file locks",
	[RLIMIT_SIGPENDING] = "Max pending signals",
	[RLIMIT_MSGQUEUE] = "Max msgqueue size",
	[RLIMIT_NICE] = "Max nice priority",
	[RLIMIT_RTPRIO] = "Max realtime priority",
	[RLIMIT_RTTIME] = "Max realtime timeout",
};

static rlim64_t parse_limit(const char *text)
{
	return strcmp(text, "unlimited") == 0 ? RLIM64_INFINITY : strtoull(text, NULL, 10);
}

/* 0, or -1 with errno EPERM: the answer that the kernel gave. */
static int read_limits_file(pid_t pid, unsigned int resource, struct rlimit64 *limits)
{
	char path[64], line[256], soft[32], hard[32];
	int result = -1;
	FILE *file;

	if (resource >= sizeof(limit_names) / sizeof(limit_names[0])) {
		errno = EPERM;
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	file = fopen(path, "re");
	while (file && result != 0 && fgets(line, sizeof(line), file)) {
		size_t length = strlen(limit_names[resource]);

		if (strncmp(line, limit_names[resource], length) != 0)
			continue;
		if (sscanf(line + length, "%31s %31s", soft, hard) != 2)
			break;
		limits->rlim_cur = parse_limit(soft);
		limits->rlim_max = parse_limit(hard);
		result = 0;
	}
	if (file)
		fclose(file);
	if (result != 0)
		errno = EPERM;
	return result;
}

/* The libc's own syscall(). Found before main(): CRIU's cloned children must not enter the dynamic linker. */
static long (*libc_syscall)(long, ...);

static void find_libc_syscall(void)
{
	libc_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
}

static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
	/* Another library's constructor may come first. */
	if (!libc_syscall)
		find_libc_syscall();
	return libc_syscall(number, a, b, c, d, e, f);
}

__attribute__((constructor)) static void prepare(void)
{
	find_libc_syscall();
	/* What CRIU starts (its action scripts) must not inherit the shim. */
	unsetenv("LD_PRELOAD");
}

static int limits_of(pid_t pid, unsigned int resource, const struct rlimit64 *new_limits,
		     struct rlimit64 *old_limits)
{
	long result = kernel(SYS_prlimit64, pid, resource, (long)new_limits, (long)old_limits, 0, 0);

	if (result < 0 && errno == EPERM && !new_limits && old_limits)
		return read_limits_file(pid, resource, old_limits);
	return (int)result;
}

int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *new_limits,
	      struct rlimit64 *old_limits)
{
	return limits_of(pid, resource, new_limits, old_limits);
}

/* On 64-bit systems struct rlimit and struct rlimit64 are the same. */
int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *new_limits,
	    struct rlimit *old_limits)
{
	return limits_of(pid, resource, (const struct rlimit64 *)new_limits, (struct rlimit64 *)old_limits);
}

long syscall(long number, ...)
{
	long a, b, c, d, e, f;
	va_list rest;

	va_start(rest, number);
	a = va_arg(rest, long);
	b = va_arg(rest, long);
	c = va_arg(rest, long);
	d = va_arg(rest, long);
	e = va_arg(rest, long);
	f = va_arg(rest, long);
	va_end(rest);
	if (number == SYS_prlimit64)
		return limits_of((pid_t)a, (unsigned int)b, (const struct rlimit64 *)c, (struct rlimit64 *)d);
	return kernel(number, a, b, c, d, e, f);
}
