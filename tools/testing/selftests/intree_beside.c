// SPDX-License-Identifier: GPL-2.0
/*
 * What: the in-tree modules are loaded while a VM of strata's runs.
 * Conditions: strata serves /dev/kvm; the in-tree modules lie in /modules-intree.
 * Expected: the vendor module (kvm_amd or kvm_intel) is refused; the VM goes on, before, during and
 * after; what did load can be unloaded again; strata still makes new VMs.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "module.h"

static volatile u64 stop;

static void guest_work(void)
{
	u32 regs[4];
	u64 i;

	for (i = 1; !stop; i++) {
		cpuid(0, 0, regs);
		guest_sync(i);
	}
	guest_done();
}

static u64 rounds;

static void *run_guest(void *arg)
{
	struct vcpu *vcpu = arg;
	enum run_end end;

	while ((end = vcpu_run(vcpu)) == RUN_SYNC)
		CHECK_EQ(vcpu_sync_value(vcpu), ++rounds);
	CHECK_EQ(end, RUN_DONE);
	return NULL;
}

static void wait_for_progress(void)
{
	u64 before = *(volatile u64 *)&rounds;

	while (*(volatile u64 *)&rounds < before + 2)
		usleep(1000);
}

TEST(vendor_module_is_refused)
{
	struct module modules[MAX_MODULES];
	int n = module_list("/modules-intree/list", modules), i, r[MAX_MODULES];
	pthread_t thread;
	struct vm *vm;

	STRATA_ONLY("the in-tree module cannot be loaded beside itself");
	if (!n)
		tap_skip("no /modules-intree/list");
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_work, 0);
	pthread_create(&thread, NULL, run_guest, vm->vcpu);
	wait_for_progress();
	for (i = 0; i < n; i++) {
		r[i] = module_load(&modules[i]);
		if (!strncmp(modules[i].name, "kvm_", 4))
			CHECK(r[i] == -EBUSY || r[i] == -EEXIST);
		wait_for_progress();
	}
	REQUIRE(n > 0 && !strncmp(modules[n - 1].name, "kvm_", 4));
	CHECK(r[n - 1] != 0);
	while (--i >= 0)
		if (!r[i])
			CHECK_EQ(module_unload(&modules[i]), 0);
	wait_for_progress();
	*guest_var(vm, &stop) = 1;
	pthread_join(thread, NULL);
	vm_destroy(vm);

	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_done, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
