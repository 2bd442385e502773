// SPDX-License-Identifier: GPL-2.0
/*
 * What: a guest that does not exit to userspace makes its memory cgroup pass memory.high by one
 * step, and touches no more memory.
 * Conditions: a cgroup file system of version 2 with the memory controller.
 * Expected: the vCPU's thread does what its cgroup asks of it (the event "high" counts) though
 * KVM_RUN does not return to userspace, and the guest goes on as if nothing were.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"
#include "power.h"

#define ROOT	"/tmp/cgroup"
#define GROUP	ROOT "/vm"
#define GPA	0x10000000ull
#define PAGES	4096ull

/* In page 0 of memory that both processes and the guest share */
struct control {
	u64 ready, go, returned;	/* of the process that runs the vCPU */
	u64 stop, touched, spun;	/* of the guest */
};

#define CONTROL ((volatile struct control *)GPA)

/* Slowly, so that the other process can say stop in time. */
static void guest_touches(void)
{
	u64 i;

	guest_sti();
	while (CONTROL->touched < PAGES && !CONTROL->stop) {
		*(volatile u64 *)(GPA + ++CONTROL->touched * 4096) = 1;
		for (i = 0; i < 100000 && !CONTROL->stop; i++)
			;
	}
	for (;;)
		CONTROL->spun++;
}

static u64 group_number(const char *file, const char *key)
{
	char text[512], *at = text;

	if (!sysfs_read(file, text, sizeof(text)))
		tap_die(__FILE__, __LINE__, "%s: %m", file);
	if (key)
		at = strstr(text, key);
	return at ? strtoull(at + (key ? strlen(key) : 0), NULL, 10) : 0;
}

static void make_group(void)
{
	mkdir(ROOT, 0755);
	if (mount("none", ROOT, "cgroup2", 0, NULL) && errno != EBUSY)
		tap_skip("no cgroup2: %m");
	if (!sysfs_write(ROOT "/cgroup.subtree_control", "+memory"))
		tap_skip("no memory controller");
	mkdir(GROUP, 0755);
}

static void wait_for(volatile u64 *value)
{
	while (!*value)
		usleep(1000);
}

/* The process that is in the group */
static void run_guest(volatile struct control *c)
{
	struct vm *vm;

	wait_for(&c->go);
	c->go = 0;
	vm = vm_create(1);
	REQUIRE(!vm_set_slot(vm, 1, 0, GPA, (PAGES + 1) * 4096, (void *)c));
	vcpu_set_long(vm->vcpu, guest_touches, 0);
	c->ready = 1;
	wait_for(&c->go);
	vcpu_run_raw(vm->vcpu);
	c->returned = 1;
	_exit(0);
}

static pid_t start_in_group(volatile struct control *c)
{
	pid_t pid = fork();
	char text[16];

	if (!pid)
		run_guest(c);
	REQUIRE(pid > 0);
	snprintf(text, sizeof(text), "%d", pid);
	REQUIRE(sysfs_write(GROUP "/cgroup.procs", text));
	c->go = 1;
	wait_for(&c->ready);
	return pid;
}

/* Just above what the group has now */
static u64 set_high(void)
{
	u64 high = group_number(GROUP "/memory.current", NULL) + 4 * 4096;
	char text[32];

	snprintf(text, sizeof(text), "%lu", high);
	REQUIRE(sysfs_write(GROUP "/memory.high", text));
	return high;
}

TEST(passed_by_a_guest)
{
	volatile struct control *c = mmap(NULL, (PAGES + 1) * 4096, PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	u64 high, before, spun;
	pid_t pid;
	int i;

	REQUIRE(c != MAP_FAILED);
	make_group();
	pid = start_in_group(c);
	high = set_high();
	before = group_number(GROUP "/memory.events", "high ");
	c->go = 1;
	while (c->touched < PAGES && group_number(GROUP "/memory.current", NULL) <= high)
		usleep(500);
	c->stop = 1;
	wait_for(&c->spun);
	tap_note("%lu pages touched, %lu bytes above memory.high", c->touched,
		 group_number(GROUP "/memory.current", NULL) - high);
	for (i = 0; i < 3000 && group_number(GROUP "/memory.events", "high ") == before; i++)
		usleep(1000);
	CHECK(group_number(GROUP "/memory.events", "high ") > before);
	spun = c->spun;
	for (i = 0; i < 3000 && c->spun == spun; i++)
		usleep(1000);
	CHECK(c->spun > spun);
	CHECK_EQ(c->returned, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	rmdir(GROUP);
}
