// SPDX-License-Identifier: GPL-2.0
/*
 * What: CR4.MCE, which the CPU has set for the host's sake whatever a guest has there: read by a
 * guest with and without it, by L2 whose L1 has it or not.
 * Conditions: for L2, guests are offered SVM. What the CPU has: SVM, root,
 * tools/testing/modules/cr4_seen.c for the host's kernel (make check builds it), a host with
 * machine checks.
 * Expected: each sees what it wrote; SREGS and L1's control block, too. The CPU has the bit set in
 * either.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "emulator.h"
#include "module.h"
#include "power.h"
#include "svm.h"

#define CR4_MCE	(1ull << 6)
#define VMRUNS	8

static void toggle(void)
{
	u64 cr4 = read_cr4() ^ CR4_MCE, other = 0;

	write_cr4(cr4);
	GUEST_ASSERT_EQ(read_cr4(), cr4);
	/* Any register may be the target. */
	asm volatile("mov %%cr4, %%r15; mov %%r15, %0" : "=r"(other) : : "r15");
	GUEST_ASSERT_EQ(other, cr4);
}

static void guest_toggles(void)
{
	for (;;) {
		toggle();
		guest_sync(read_cr4());
	}
}

static u64 cr4_of(struct vcpu *vcpu)
{
	struct kvm_sregs sregs;

	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	return sregs.cr4;
}

TEST(guest)
{
	struct vm *vm = vm_create(1);
	u64 cr4;
	int i;

	vcpu_set_long(vm->vcpu, guest_toggles, 0);
	cr4 = cr4_of(vm->vcpu);
	for (i = 1; i <= 4; i++) {
		cr4 ^= CR4_MCE;
		REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
		CHECK_EQ(vcpu_sync_value(vm->vcpu), cr4);
		CHECK_EQ(cr4_of(vm->vcpu), cr4);
	}
	vm_destroy(vm);
}

static void l2_toggles(void)
{
	for (;;) {
		toggle();
		guest_sync(read_cr4());
		vmmcall();
	}
}

/* Both levels change theirs, L2's at each VMRUN, L1's at each other one. */
static void guest_l1(void)
{
	u64 l1 = read_cr4(), l2, i;

	svm_guest_init(l2_toggles);
	l2 = svm_vmcb.cr4;
	for (i = 1; i <= VMRUNS; i++) {
		if (i & 1)
			toggle(), l1 ^= CR4_MCE;
		GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
		l2 ^= CR4_MCE;
		GUEST_ASSERT_EQ(svm_vmcb.cr4, l2);
		GUEST_ASSERT_EQ(read_cr4(), l1);
		svm_vmcb.rip += 3;
	}
	guest_done();
}

TEST(both_levels)
{
	struct vm *vm;
	int i;

	need_svm();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_l1, 0);
	for (i = 0; i < VMRUNS; i++) {
		REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
		CHECK_EQ(cr4_of(vm->vcpu), vcpu_sync_value(vm->vcpu));
	}
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* ---- what the CPU has: with the module a guest's read of CR4 is not the guest's ---- */

#define FILE_KO "/modules-test/cr4_seen.ko"

static struct module module = { .path = FILE_KO, .name = "cr4_seen" };

static void need_module(void)
{
	STRATA_ONLY("kprobes in strata");
	if (!host_is_amd())
		tap_skip("SVM only");
	if (access(FILE_KO, R_OK))
		tap_skip("no " FILE_KO);
	snprintf(module.params, sizeof(module.params), "tgid=%d", getpid());
	REQUIRE_EQ(module_load(&module), 0);
}

static u64 host_cr4(void)
{
	char text[32];

	REQUIRE(sysfs_read("/sys/module/cr4_seen/parameters/host", text, sizeof(text)));
	return strtoull(text, NULL, 10);
}

/* True where the host has machine checks on. */
static bool check_cpu(struct vcpu *vcpu, u64 own)
{
	REQUIRE_EQ(vcpu_run(vcpu), RUN_SYNC);
	CHECK_EQ(cr4_of(vcpu), own);
	CHECK_EQ(vcpu_sync_value(vcpu), own | (host_cr4() & CR4_MCE));
	return host_cr4() & CR4_MCE;
}

static void guest_shows(u64 cr4)
{
	for (;;) {
		cr4 ^= CR4_MCE;
		write_cr4(cr4);
		guest_sync(read_cr4());
	}
}

TEST(cpu_in_a_guest)
{
	bool on = true;
	struct vm *vm;
	u64 cr4;
	int i;

	need_module();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_shows, 0);
	cr4 = cr4_of(vm->vcpu);
	vcpu_set_long(vm->vcpu, guest_shows, cr4);
	for (i = 0; i < 4; i++)
		on &= check_cpu(vm->vcpu, cr4 ^= CR4_MCE);
	CHECK_EQ(module_unload(&module), 0);
	vm_destroy(vm);
	if (!on)
		tap_skip("the host has machine checks off");
}

static void l2_shows(void)
{
	guest_sync(read_cr4());
	vmmcall();
}

/* L2 without and with it, then L1 behind the #VMEXIT without. */
static void guest_l1_shows(u64 cr4)
{
	svm_guest_init(l2_shows);
	svm_vmcb.cr4 = cr4 & ~CR4_MCE;
	svm_vmrun(&svm_vmcb);
	svm_vmcb.cr4 |= CR4_MCE;
	svm_guest_restart(l2_shows);
	svm_vmrun(&svm_vmcb);
	guest_sync(read_cr4());
}

TEST(cpu_in_l2)
{
	struct vm *vm;
	bool on;
	u64 cr4;

	need_svm();
	need_module();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_l1_shows, 0);
	cr4 = cr4_of(vm->vcpu);
	vcpu_set_long(vm->vcpu, guest_l1_shows, cr4);
	REQUIRE_EQ(cr4 & CR4_MCE, 0);
	on = check_cpu(vm->vcpu, cr4);
	on &= check_cpu(vm->vcpu, cr4 | CR4_MCE);
	on &= check_cpu(vm->vcpu, cr4);
	CHECK_EQ(module_unload(&module), 0);
	vm_destroy(vm);
	if (!on)
		tap_skip("the host has machine checks off");
}
