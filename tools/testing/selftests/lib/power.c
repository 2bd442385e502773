// SPDX-License-Identifier: GPL-2.0
/*
 * The counting guest, and sysfs; see power.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "power.h"

static volatile u64 counted;

bool sysfs_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = strlen(text);
	bool done = fd >= 0 && write(fd, text, n) == n;

	if (fd >= 0)
		close(fd);
	return done;
}

bool sysfs_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	return n >= 0;
}

static void guest_counts(void)
{
	u32 regs[4];

	for (;;) {
		cpuid(0, 0, regs);
		if (!(++counted & 0xff))
			out8(0x600, 0);
	}
}

static void *count(void *arg)
{
	struct counter *c = arg;

	while (!c->stop) {
		c->result = vcpu_run_raw(c->vm->vcpu);
		if (c->result == -EINTR)
			continue;
		if (c->result || c->vm->vcpu->run->exit_reason != KVM_EXIT_IO)
			break;
	}
	return NULL;
}

void counter_start(struct counter *c, int cpu)
{
	pthread_attr_t attr;
	cpu_set_t set;

	memset(c, 0, sizeof(*c));
	c->vm = vm_create(1);
	vcpu_set_long(c->vm->vcpu, guest_counts, 0);
	pthread_attr_init(&attr);
	CPU_ZERO(&set);
	CPU_SET(cpu < 0 ? 0 : cpu, &set);
	if (cpu >= 0)
		REQUIRE(!pthread_attr_setaffinity_np(&attr, sizeof(set), &set));
	REQUIRE(!pthread_create(&c->thread, &attr, count, c));
	pthread_attr_destroy(&attr);
}

u64 counter_value(const struct counter *c)
{
	return *guest_var(c->vm, &counted);
}

void counter_goes_on(struct counter *c, const char *when)
{
	u64 before = counter_value(c);
	int i;

	for (i = 0; i < 4000 && counter_value(c) < before + 1000; i++)
		usleep(1000);
	if (counter_value(c) < before + 1000)
		tap_fail(__FILE__, __LINE__, "%s: the guest stands at %lu, exit %u, result %d",
			 when, counter_value(c), c->vm->vcpu->run->exit_reason, c->result);
}

void counter_stop(struct counter *c)
{
	c->stop = true;
	pthread_join(c->thread, NULL);
	CHECK(!c->result || c->result == -EINTR);
	CHECK_EQ(c->vm->vcpu->run->exit_reason, KVM_EXIT_IO);
	vm_destroy(c->vm);
}

/* ---- sleep ---- */

#define POWER "/sys/power/"

bool sleep_and_wake(void)
{
	bool done;

	if (!sysfs_write(POWER "pm_test", "core"))
		tap_skip("the kernel has no pm_test core");
	done = sysfs_write(POWER "state", "mem");
	sysfs_write(POWER "pm_test", "none");
	return done;
}

void need_memory_sleep(void)
{
	char text[64];

	if (!sysfs_read(POWER "state", text, sizeof(text)) || !strstr(text, "mem"))
		tap_skip("no suspend to memory");
	if (!sysfs_read(POWER "mem_sleep", text, sizeof(text)) || !strstr(text, "deep"))
		tap_skip("no suspend to memory that calls the system's handlers");
	REQUIRE(sysfs_write(POWER "mem_sleep", "deep"));
	sysfs_write("/sys/module/suspend/parameters/pm_test_delay", "1");
}
