// SPDX-License-Identifier: GPL-2.0
/*
 * What: pages that L1 gives its processor (control block, permission maps) in a slot that is
 * read-only, that goes while L2 runs, or whose host memory goes.
 * Conditions: guests are offered SVM; strata.
 * Expected: what is only read may be read-only. A control block that cannot be written at #VMEXIT
 * is a shutdown, and nothing of it is written; one that is back by then is written as ever. A map
 * that cannot be read intercepts everything, and at VMRUN is a refusal. VMSAVE into such a page is
 * #GP. A restored L2 whose control block cannot be written is an internal error until it can.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "svm.h"

#define OWN_GPA		0x10000000ull	/* a slot of its own */
#define OWN_SIZE	0x10000ull
#define OWN_BLOCK	((struct svm_vmcb *)OWN_GPA)
#define OWN_IOPM	(OWN_GPA + 0x4000)
#define OWN_MSRPM	(OWN_GPA + 0x8000)
#define EXIT_IOIO	0x7b
#define EXIT_MSR	0x7c
#define STAR_BYTE	(0x800 + (MSR_STAR & 0x1fff) * 2 / 8)	/* of the MSR map */

static u8 *own, *copy;

static void take(struct vm *vm)
{
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, OWN_GPA, 0, NULL), 0);
}

static void give(struct vm *vm, u32 flags)
{
	take(vm);
	REQUIRE_EQ(vm_set_slot(vm, 1, flags, OWN_GPA, OWN_SIZE, own), 0);
}

static struct vm *start(void (*fn)(void))
{
	struct vm *vm;

	need_svm();
	STRATA_ONLY("pages of L1's that cannot be written");
	vm = vm_create(1);
	own = host_alloc(OWN_SIZE, 4096);
	copy = host_alloc(OWN_SIZE, 4096);
	memset(own, 0, OWN_SIZE);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, OWN_GPA, OWN_SIZE, own), 0);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static void set_aside(void)
{
	memcpy(copy, own, OWN_SIZE);
}

static void untouched(void)
{
	CHECK(!memcmp(copy, own, OWN_SIZE));
}

/* ---- the control block ---- */

static void l2_stops(void)
{
	for (;;) {
		out32(0x80, 1);
		vmmcall();
	}
}

/* Syncs, so that the host may change the slot; L2 stops where it may again. */
static void guest_block(void)
{
	svm_guest_init(l2_stops);
	*OWN_BLOCK = svm_vmcb;
	guest_sync(1);
	for (;;) {
		GUEST_ASSERT_EQ(svm_vmrun(OWN_BLOCK), SVM_EXIT_VMMCALL);
		OWN_BLOCK->rip += 3;
	}
}

static void guest_refused(void)
{
	svm_guest_init(l2_stops);
	svm_vmcb.asid = 0;
	*OWN_BLOCK = svm_vmcb;
	guest_sync(1);
	svm_vmrun(OWN_BLOCK);
	GUEST_ASSERT(0);
}

TEST(block_read_only_at_the_entry)
{
	struct vm *vm = start(guest_block);

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	give(vm, KVM_MEM_READONLY);
	set_aside();
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu->run->io.port, 0x80);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_SHUTDOWN);
	untouched();
	vm_destroy(vm);
}

TEST(refused_block_is_read_only)
{
	struct vm *vm = start(guest_refused);

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	give(vm, KVM_MEM_READONLY);
	set_aside();
	RUN_UNTIL(vm->vcpu, KVM_EXIT_SHUTDOWN);
	untouched();
	vm_destroy(vm);
}

TEST(block_becomes_read_only)
{
	struct vm *vm = start(guest_block);

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	give(vm, KVM_MEM_READONLY);
	set_aside();
	RUN_UNTIL(vm->vcpu, KVM_EXIT_SHUTDOWN);
	untouched();
	vm_destroy(vm);
}

TEST(block_comes_back)
{
	struct vm *vm = start(guest_block);
	unsigned int i;

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	for (i = 0; i < 3; i++) {
		RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
		CHECK_EQ(vm->vcpu->run->io.port, 0x80);
		give(vm, i & 1 ? KVM_MEM_READONLY : 0);
		give(vm, 0);
	}
	CHECK_EQ(((struct svm_vmcb *)own)->exit_code, SVM_EXIT_VMMCALL);
	vm_destroy(vm);
}

/* The slot is there, but the process has nothing there any more. */
TEST(block_without_host_memory)
{
	struct vm *vm = start(guest_block);

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	REQUIRE(!mprotect(own, 4096, PROT_NONE));
	RUN_UNTIL(vm->vcpu, KVM_EXIT_SHUTDOWN);
	REQUIRE(!mprotect(own, 4096, PROT_READ | PROT_WRITE));
	vm_destroy(vm);
}

/* A state that is set waits for a page that it can be written to. */
TEST(restored_onto_a_read_only_block)
{
	static union {
		struct kvm_nested_state s;
		u8 bytes[sizeof(struct kvm_nested_state) + 4096];
	} state;
	struct vm *vm = start(guest_block);
	unsigned int i;

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu_run_nothing(vm->vcpu), -EINTR);
	state.s.size = sizeof(state);
	xioctl(vm->vcpu->fd, KVM_GET_NESTED_STATE, &state);
	CHECK_EQ(state.s.hdr.svm.vmcb_pa, OWN_GPA);
	give(vm, KVM_MEM_READONLY);
	xioctl(vm->vcpu->fd, KVM_SET_NESTED_STATE, &state);
	set_aside();
	for (i = 0; i < 2; i++)
		RUN_UNTIL(vm->vcpu, KVM_EXIT_INTERNAL_ERROR);
	untouched();
	give(vm, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(((struct svm_vmcb *)own)->exit_code, SVM_EXIT_VMMCALL);
	vm_destroy(vm);
}

/* ---- the permission maps ---- */

/* Of all MSRs STAR is one that L0 lets through. */
static void l2_uses_maps(void)
{
	for (;;) {
		rdmsr(MSR_STAR);
		out8(0x80, 1);
		out8(0x88, 2);
		vmmcall();
	}
}

static void guest_maps(void)
{
	svm_guest_init(l2_uses_maps);
	svm_vmcb.iopm = OWN_IOPM;
	svm_vmcb.msrpm = OWN_MSRPM;
	svm_intercept(&svm_vmcb, EXIT_IOIO, true);
	svm_intercept(&svm_vmcb, EXIT_MSR, true);
	guest_sync(1);	/* read-only from here on */
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	guest_sync(2);	/* the host sets the bits */
	svm_guest_restart(l2_uses_maps);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), EXIT_MSR);
	svm_vmcb.rip += 2;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), EXIT_IOIO);
	guest_sync(3);	/* and clears them again; both maps go at the first OUT */
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), EXIT_IOIO);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_INVALID);
	svm_intercept(&svm_vmcb, EXIT_MSR, false);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), EXIT_IOIO);
	svm_intercept(&svm_vmcb, EXIT_IOIO, false);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	guest_done();
}

static void set_bits(u8 bits)
{
	own[OWN_MSRPM - OWN_GPA + STAR_BYTE] = bits;
	own[OWN_IOPM - OWN_GPA + 0x80 / 8] = bits;
}

static void run_until_port(struct vcpu *vcpu, u16 port)
{
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, port);
}

TEST(maps_read_only_and_gone)
{
	struct vm *vm = start(guest_maps);

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	give(vm, KVM_MEM_READONLY);
	run_until_port(vm->vcpu, 0x80);
	run_until_port(vm->vcpu, 0x88);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	set_bits(0xff);
	RUN_UNTIL_SYNC(vm->vcpu, 3);
	set_bits(0);
	run_until_port(vm->vcpu, 0x80);
	take(vm);
	run_until_port(vm->vcpu, 0x88);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* ---- VMLOAD and VMSAVE ---- */

static void guest_saves(void)
{
	svm_guest_init(l2_stops);
	asm volatile("vmsave %0" : : "a"(OWN_BLOCK) : "memory");
	guest_sync(1);
	asm volatile("vmload %0" : : "a"(OWN_BLOCK) : "memory");
	GUEST_ASSERT_FAULTS(GP_VECTOR, "movl $0x10000000, %%eax; vmsave %%rax");
	guest_done();
}

TEST(vmsave_to_a_read_only_page)
{
	struct vm *vm = start(guest_saves);

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	give(vm, KVM_MEM_READONLY);
	set_aside();
	RUN_UNTIL_DONE(vm->vcpu);
	untouched();
	vm_destroy(vm);
}
