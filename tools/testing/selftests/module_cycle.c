// SPDX-License-Identifier: GPL-2.0
/*
 * What: the module that serves /dev/kvm is unloaded and loaded again, 20 rounds with a guest run in
 * each; unloading while a VM exists.
 * Conditions: the host lists the modules it loaded in /modules/list, the serving one last.
 * Expected: refused while a VM exists; /dev/kvm goes and comes back; the kernel's memory
 * counters do
 * not grow from round to round.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "module.h"

#define ROUNDS	20
#define WARM	5
#define SLACK	512	/* KiB */

static volatile u64 touched;

static void guest_touch(void)
{
	u64 gpa;

	for (gpa = GPA_HEAP; gpa < SLOT0_SIZE; gpa += 4096)
		*(volatile u64 *)gpa = ++touched;
	guest_done();
}

static void one_round(const struct module *m)
{
	struct vm *vm = vm_create(2);
	int r;

	vcpu_set_long(vm->vcpu, guest_touch, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	r = module_unload(m);
	CHECK(r == -EAGAIN || r == -EBUSY);
	/* The attempt did no harm. */
	vcpu_set_long(&vm->vcpu[1], guest_touch, 0);
	RUN_UNTIL_DONE(&vm->vcpu[1]);
	vm_destroy(vm);
	REQUIRE_EQ(module_unload_patiently(m), 0);
	CHECK(access("/dev/kvm", F_OK));
	REQUIRE_EQ(module_load(m), 0);
	CHECK(!access("/dev/kvm", F_OK));
}

TEST_TIMEOUT(load_run_unload, 300)
{
	struct module modules[MAX_MODULES], *m;
	int n = module_list("/modules/list", modules), i;
	long before = 0, after;

	if (!n)
		tap_skip("no /modules/list");
	m = &modules[n - 1];
	for (i = 0; i < ROUNDS; i++) {
		if (i == WARM)
			before = module_kernel_memory();
		one_round(m);
	}
	after = module_kernel_memory();
	if (after > before + SLACK)
		tap_fail(__FILE__, __LINE__, "%d rounds left %ld KiB", ROUNDS - WARM,
			 after - before);
}
