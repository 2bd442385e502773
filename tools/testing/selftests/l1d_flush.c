// SPDX-License-Identifier: GPL-2.0
/*
 * What: when the L1 data cache is flushed before entries, by the counter l1d_flush.
 * Conditions: strata; what the kernel's vulnerabilities file says of l1tf decides what is expected.
 * Expected: "cache flushes": at every entry; "conditional": after userspace, and hardly ever where
 * the exit was short; else never.
 */
#include <stdio.h>
#include <string.h>

#include "cpu.h"
#include "stats.h"

#define FILE_L1TF	"/sys/devices/system/cpu/vulnerabilities/l1tf"
#define SHORT		500
#define LONG		100

enum mode { NEVER, CONDITIONAL, ALWAYS };

static enum mode mode(void)
{
	FILE *f = fopen(FILE_L1TF, "r");
	char line[256] = "";

	REQUIRE(f);
	REQUIRE(fgets(line, sizeof(line), f));
	fclose(f);
	line[strcspn(line, "\n")] = 0;
	tap_note("l1tf: %s", line);
	if (strstr(line, "VMX: conditional cache flushes"))
		return CONDITIONAL;
	return strstr(line, "VMX: cache flushes") ? ALWAYS : NEVER;
}

static void guest_exits(void)
{
	u32 r[4], i;

	guest_sync(1);
	for (i = 0; i < SHORT; i++)
		cpuid(0, 0, r);
	guest_sync(2);
	for (i = 0; i < LONG; i++)
		guest_sync(3);
	guest_done();
}

TEST(counted)
{
	u64 start, middle, end;
	struct vm *vm;
	enum mode m;
	u32 i;

	STRATA_ONLY("the counter's exact meaning");
	/* The file is right while there is a VM: others write it, too. */
	vm = vm_create(1);
	m = mode();
	vcpu_set_long(vm->vcpu, guest_exits, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	start = stat_of(vm->vcpu->fd, "l1d_flush");
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	middle = stat_of(vm->vcpu->fd, "l1d_flush");
	for (i = 0; i < LONG; i++)
		RUN_UNTIL_SYNC(vm->vcpu, 3);
	end = stat_of(vm->vcpu->fd, "l1d_flush");
	tap_note("%llu in %u short exits, %llu in %u to userspace",
		 (unsigned long long)(middle - start), SHORT, (unsigned long long)(end - middle),
		 LONG);
	switch (m) {
	case NEVER:
		CHECK_EQ(end, 0);
		break;
	case CONDITIONAL:
		/* The host's own interrupts count. */
		CHECK(middle - start < SHORT / 4);
		CHECK(end - middle >= LONG);
		break;
	case ALWAYS:
		CHECK(middle - start >= SHORT);
		CHECK(end - middle >= LONG);
		break;
	}
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
