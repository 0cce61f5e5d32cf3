// SPDX-License-Identifier: MIT
// Whether the process that holds a lease still lives.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness/store/internal.h"

// Start of a process in clock ticks since boot (field 22 of /proc/PID/stat); -1 when there is no such process or
// only its zombie is left.
static int64_t process_start(int64_t pid)
{
	char path[64], text[1024];
	snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
	FILE *file = fopen(path, "r");
	if (!file)
		return -1;
	size_t n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[n] = '\0';
	// The name in field 2 may hold spaces and brackets: count from its last one.
	char *at = strrchr(text, ')');
	char state;
	long long start;
	if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lld",
	                   &state, &start) != 2)
		return -1;
	return state == 'Z' || state == 'X' ? -1 : start;
}

void owner_self(struct owner *owner)
{
	char boot[64] = "", space[32] = "";
	memset(owner, 0, sizeof(*owner));
	owner->pid = getpid();
	owner->start = process_start(owner->pid);
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
	if (file) {
		if (fscanf(file, "%63s", boot) != 1)
			boot[0] = '\0';
		fclose(file);
	}
	ssize_t n = readlink("/proc/self/ns/pid", space, sizeof(space) - 1);
	space[n > 0 ? n : 0] = '\0';
	snprintf(owner->boot, sizeof(owner->boot), "%s %s", boot, space);
}

enum owner_state owner_look(const struct owner *owner)
{
	struct owner self;
	owner_self(&self);
	// Without /proc nothing is known of others, and after a reboot or in another container neither: wait for the
	// heartbeat to grow old.
	if (self.start < 0 || !owner->boot[0] || strcmp(self.boot, owner->boot))
		return OWNER_UNKNOWN;
	return process_start(owner->pid) == owner->start ? OWNER_ALIVE : OWNER_GONE;
}
