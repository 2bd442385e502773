// SPDX-License-Identifier: GPL-2.0
/*
 * What: events of the host's perf that leave out guests or the host: the MSRs that switch counters
 * and PEBS have one value while the guest runs and another behind the exit, as
 * perf_guest_get_msrs() says.
 * Conditions: VMX, root, counters that perf has (the plan's pmu = true on Bochs),
 * tools/testing/modules/msr_seen.c for the host's kernel (make check builds it).
 * Expected: the counter of an event that leaves out guests is off in the guest alone, of one that
 * leaves out the host in the host alone, as long as the event is open; PEBS is off in the guest.
 * The CPU's MSR-load lists do it, or its controls for IA32_PERF_GLOBAL_CTRL where it has them and
 * perf_global_ctrl is on. Bochs has those controls and their fields, but loads nothing: there the
 * fields are looked at.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu.h"
#include "emulator.h"
#include "module.h"
#include "power.h"

#define FILE_KO		"/modules-test/msr_seen.ko"
#define PARAM(name)	"/sys/module/msr_seen/parameters/" name
#define GLOBAL_CTRL	0x38f
#define PEBS_ENABLE	0x3f1
/*
 * Last-level cache misses, for which there are general counters only; micro-operations retired,
 * which PEBS knows
 */
#define CACHE_MISSES	0x412e
#define UOPS_RETIRED	0x1c2

static struct module module = { .path = FILE_KO, .name = "msr_seen" };

static int perf_open(struct perf_event_attr *a)
{
	a->type = PERF_TYPE_RAW;
	a->size = sizeof(*a);
	a->pinned = 1;
	return syscall(SYS_perf_event_open, a, 0, -1, -1, 0);
}

static int event_without_guests(void)
{
	return perf_open(&(struct perf_event_attr) { .config = CACHE_MISSES, .exclude_guest = 1 });
}

static int event_without_host(void)
{
	return perf_open(&(struct perf_event_attr) { .config = CACHE_MISSES, .exclude_host = 1 });
}

static void need_module_and_counters(void)
{
	int fd;

	if (host_is_amd())
		tap_skip("VMX only");
	STRATA_ONLY("kprobes in strata");
	if (access(FILE_KO, R_OK))
		tap_skip("no " FILE_KO);
	fd = event_without_guests();
	if (fd < 0)
		tap_skip("perf has no counters");
	close(fd);
	snprintf(module.params, sizeof(module.params), "tgid=%d", getpid());
	REQUIRE_EQ(module_load(&module), 0);
}

static u64 param(const char *path)
{
	char text[32];

	REQUIRE(sysfs_read(path, text, sizeof(text)));
	return strtoull(text, NULL, 0);
}

static volatile u64 which, value;

static void guest_reads(void)
{
	for (;;) {
		value = rdmsr(which);
		guest_sync(0);
	}
}

struct seen {
	u64 guest, host;
	unsigned int listed;
	bool controlled;
};

static struct vm *reading_vm(u32 msr)
{
	struct vm *vm = vm_create(1);
	char text[16];

	vcpu_set_long(vm->vcpu, guest_reads, 0);
	*guest_var(vm, &which) = msr;
	snprintf(text, sizeof(text), "%u", msr);
	REQUIRE(sysfs_write(PARAM("msr"), text));
	return vm;
}

static struct seen look(struct vm *vm)
{
	struct seen s = {};
	char text[8];

	RUN_UNTIL_SYNC(vm->vcpu, 0);
	s.guest = *guest_var(vm, &value);
	s.host = param(PARAM("host"));
	s.listed = param(PARAM("listed"));
	REQUIRE(sysfs_read(PARAM("controlled"), text, sizeof(text)));
	s.controlled = text[0] == 'Y';
	if (s.controlled && *guest_var(vm, &which) == GLOBAL_CTRL && host_is_bochs()) {
		s.guest = param(PARAM("guest_field"));
		s.host = param(PARAM("host_field"));
	}
	return s;
}

static void done_with(struct vm *vm)
{
	vm_destroy(vm);
	CHECK_EQ(module_unload(&module), 0);
}

static bool one_bit(u64 bits)
{
	return bits && !(bits & (bits - 1));
}

/* Something is switched, by a list or by the controls. */
static void check_switched(const struct seen *s)
{
	CHECK_EQ(s->listed, !s->controlled);
}

static void check_same(struct vm *vm)
{
	struct seen s = look(vm);

	CHECK_EQ(s.guest, s.host);
	CHECK_EQ(s.listed, 0);
	CHECK(!s.controlled);
}

TEST(counters)
{
	int without_guests, without_host, i;
	struct vm *vm;
	struct seen s;
	u64 counter;

	need_module_and_counters();
	vm = reading_vm(GLOBAL_CTRL);
	check_same(vm);
	for (i = 0; i < 3; i++) {
		without_guests = event_without_guests();
		s = look(vm);
		counter = s.host & ~s.guest;
		CHECK(one_bit(counter));
		CHECK_EQ(s.guest & ~s.host, 0);
		check_switched(&s);

		without_host = event_without_host();
		REQUIRE(without_host >= 0);
		s = look(vm);
		CHECK_EQ(s.host & ~s.guest, counter);
		CHECK(one_bit(s.guest & ~s.host));
		counter = s.guest & ~s.host;
		check_switched(&s);

		close(without_guests);
		s = look(vm);
		CHECK_EQ(s.host & ~s.guest, 0);
		CHECK_EQ(s.guest & ~s.host, counter);
		check_switched(&s);

		close(without_host);
		check_same(vm);
	}
	tap_note("IA32_PERF_GLOBAL_CTRL is switched by %s", s.controlled ? "controls" : "lists");
	done_with(vm);
}

/*
 * With IA32_PERF_GLOBAL_CTRL the kernel has PEBS switched on those CPUs only that are known not to
 * do it. Broadwell is one.
 */
static bool pebs_enters_guests(void)
{
	u32 regs[4];

	cpuid(1, 0, regs);
	return (regs[0] & 0xf0ff0) == 0x306d0;
}

TEST(pebs)
{
	struct perf_event_attr a = { .config = UOPS_RETIRED, .precise_ip = 1, .sample_period = 1ull << 40, .exclude_guest = 1 };
	struct vm *vm;
	struct seen s;
	int fd, i;

	need_module_and_counters();
	if (!pebs_enters_guests()) {
		CHECK_EQ(module_unload(&module), 0);
		tap_skip("the CPU itself keeps PEBS out of guests");
	}
	vm = reading_vm(PEBS_ENABLE);
	check_same(vm);
	for (i = 0; i < 3; i++) {
		fd = perf_open(&a);
		if (fd < 0) {
			done_with(vm);
			tap_skip("perf has no PEBS");
		}
		s = look(vm);
		CHECK(one_bit(s.host));
		CHECK_EQ(s.guest, 0);
		CHECK(s.listed);
		close(fd);
		check_same(vm);
	}
	done_with(vm);
}
