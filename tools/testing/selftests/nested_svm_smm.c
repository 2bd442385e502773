// SPDX-License-Identifier: GPL-2.0
/*
 * What: SMM while L2 runs and L1 leaves SMIs to L0: the save area, the state in the handler, RSM
 * back into L2; save areas and state of L1's that RSM must refuse, and the triple fault of that
 * moved to another vCPU; a vCPU moved inside SMM; SMIs that L1 intercepts; the flag of SMM toggled
 * under L2.
 * Conditions: guests are offered SVM; no in-kernel interrupt controller; strata.
 * Expected: L2 and L1 notice nothing. A refused RSM is a triple fault with the vCPU as it was.
 */
#include <errno.h>
#include <string.h>

#include "emulator.h"
#include "npt.h"
#include "smm.h"
#include "state.h"
#include "../../../include/uapi/linux/strata.h"

#define S64_SVM_GUEST	0x0d8
#define S64_SVM_VMCB	0x0e0
#define EXIT_SMI	0x62
#define NESTED_SIZE	(sizeof(struct kvm_nested_state) + 4096)

struct image {
	struct smm_state s;
	union {
		struct kvm_nested_state nested;
		u8 bytes[NESTED_SIZE];
	};
};

static struct npt npt;
static volatile u64 with_npt, smi_exits;

static void l2_main(void)
{
	u32 i;

	for (i = 0; i < 3; i++)
		out8(PORT_LOOP, i);
	vmmcall();
}

/* L1's own state is told by what it still knows after L2. */
static void guest_main(void)
{
	if (with_npt)
		npt_guest_init(&npt, NPT_4LEVEL);
	else
		svm_guest_init(l2_main);
	svm_guest_restart(l2_main);
	svm_vmcb.g_pat = 0x0007040600070404ull;
	svm_intercept(&svm_vmcb, EXIT_SMI, smi_exits);
	if (smi_exits) {
		GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), EXIT_SMI);
		svm_stgi();
		svm_clgi();
	}
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(rdmsr(MSR_PAT), 0x0007040600070406ull);
	svm_stgi();
	guest_done();
}

static void get(struct vcpu *vcpu, struct image *i)
{
	memset(i, 0, sizeof(*i));
	smm_get_state(vcpu, &i->s);
	i->nested.size = NESTED_SIZE;
	xioctl(vcpu->fd, KVM_GET_NESTED_STATE, &i->nested);
	if (!host_is_bochs_svm())
		return;
	/* Where VMRUN does not load CR2 it is the host's. */
	i->s.sregs.cr2 = 0;
	((struct svm_vmcb *)(i->bytes + sizeof(i->nested)))->cr2 = 0;
}

static struct vm *start(u8 **smram, bool paging, bool exits)
{
	struct vm *vm;

	need_npt();
	vm = vm_create(1);
	*smram = smm_prepare(vm, 1);
	*guest_var(vm, &with_npt) = paging;
	*guest_var(vm, &smi_exits) = exits;
	vcpu_set_long(vm->vcpu, guest_main, 0);
	RUN_UNTIL_LOOP(vm->vcpu);
	return vm;
}

static struct svm_vmcb *vmcb12(struct vm *vm)
{
	return guest_var(vm, &svm_vmcb);
}

/* L1's state in the page of VM_HSAVE_PA, where the save area of a control block is */
static struct svm_vmcb *hsave(struct vm *vm)
{
	return (struct svm_vmcb *)guest_var(vm, &svm_hsave[0]);
}

static void round_trip(bool paging)
{
	static struct image before, inside, after;
	const struct svm_vmcb *l1;
	struct svm_vmcb *blob = (struct svm_vmcb *)(before.bytes + sizeof(before.nested));
	struct vm *vm;
	u8 *smram;

	vm = start(&smram, paging, false);
	get(vm->vcpu, &before);
	CHECK(before.nested.flags & KVM_STATE_NESTED_GUEST_MODE);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	get(vm->vcpu, &inside);
	CHECK(vm->vcpu->run->flags & KVM_RUN_X86_SMM);
	CHECK_EQ(inside.nested.flags & KVM_STATE_NESTED_GUEST_MODE, 0);
	CHECK_EQ(inside.s.events.smi.smm, 1);
	CHECK_EQ(S64(smram, SVM_GUEST), 1);
	CHECK_EQ(S64(smram, SVM_VMCB), (u64)&svm_vmcb);
	CHECK_EQ(S64(smram, RIP), before.s.regs.rip);
	CHECK_EQ(S64(smram, CR3), before.s.sregs.cr3);
	CHECK_EQ(S64(smram, EFER), before.s.sregs.efer);
	l1 = hsave(vm);
	CHECK_EQ(l1->rip, blob->rip);
	CHECK_EQ(l1->rsp, blob->rsp);
	CHECK_EQ(l1->cr0, blob->cr0);
	CHECK_EQ(l1->efer, blob->efer);
	CHECK_EQ(l1->g_pat, 0x0007040600070406ull);
	CHECK_EQ(vmcb12(vm)->exit_code, 0);
	RUN_UNTIL_LOOP(vm->vcpu);
	get(vm->vcpu, &after);
	/* One more turn of L2's loop */
	CHECK_EQ(after.s.regs.rsp, before.s.regs.rsp);
	CHECK_EQ(after.nested.flags, before.nested.flags);
	CHECK_EQ(memcmp(after.bytes, before.bytes, NESTED_SIZE), 0);
	CHECK_EQ(memcmp(&after.s.sregs, &before.s.sregs, sizeof(after.s.sregs)), 0);
	CHECK_EQ(memcmp(&after.s.debug, &before.s.debug, sizeof(after.s.debug)), 0);
	CHECK_EQ(memcmp(&after.s.events, &before.s.events, sizeof(after.s.events)), 0);
	RUN_UNTIL_LOOP(vm->vcpu);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

TEST(smi_in_l2)			{ round_trip(false); }
TEST(smi_in_l2_nested_paging)	{ round_trip(true); }

/* Inside SMM nothing but memory knows of L2: the vCPU goes on in another VM. */
TEST(moved_inside_smm)
{
	struct vm *vm, *other = NULL;
	static struct image image, again;
	u8 *smram, *ram;
	u64 pa;

	vm = start(&smram, true, false);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	get(vm->vcpu, &image);
	other = vm_create(1);
	ram = smm_prepare(other, 1);
	memcpy(other->mem, vm->mem, SLOT0_SIZE);
	memcpy(ram, smram, SMRAM_SIZE);
	smm_set_state(other->vcpu, &image.s);
	xioctl(other->vcpu->fd, KVM_SET_NESTED_STATE, &image.nested);
	REQUIRE_EQ(vcpu_get_msr(vm->vcpu, MSR_VM_HSAVE_PA, &pa), 1);
	REQUIRE_EQ(vcpu_set_msr(other->vcpu, MSR_VM_HSAVE_PA, pa), 1);
	get(other->vcpu, &again);
	CHECK_EQ(memcmp(&image, &again, sizeof(image)), 0);
	RUN_UNTIL_LOOP(other->vcpu);
	RUN_UNTIL_LOOP(other->vcpu);
	RUN_UNTIL_DONE(other->vcpu);
	vm_destroy(other);
	vm_destroy(vm);
}

/* L1 gets the exit, and takes the SMI itself with STGI. */
TEST(smi_that_l1_intercepts)
{
	struct vm *vm;
	u8 *smram;

	vm = start(&smram, false, true);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	RUN_UNTIL_SMM(vm->vcpu);
	CHECK_EQ(S64(smram, SVM_GUEST), 0);
	CHECK_EQ(vmcb12(vm)->exit_code, EXIT_SMI);
	RUN_UNTIL_LOOP(vm->vcpu);
	RUN_UNTIL_LOOP(vm->vcpu);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* Where L1's state goes there is no memory: no SMM, and the SMI waits. */
TEST(host_save_area_nowhere)
{
	static struct image before, after;
	struct vm *vm;
	u8 *smram;

	vm = start(&smram, false, false);
	REQUIRE_EQ(vcpu_set_msr(vm->vcpu, MSR_VM_HSAVE_PA, 0x40000000), 1);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	get(vm->vcpu, &before);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_INTERNAL_ERROR);
	get(vm->vcpu, &after);
	CHECK_EQ(memcmp(&before, &after, sizeof(before)), 0);
	REQUIRE_EQ(vcpu_set_msr(vm->vcpu, MSR_VM_HSAVE_PA, (u64)svm_hsave), 1);
	RUN_UNTIL_SMM(vm->vcpu);
	RUN_UNTIL_LOOP(vm->vcpu);
	vm_destroy(vm);
}

/* ---- what RSM refuses ---- */

struct bad {
	const char *name;
	void (*spoil)(struct vm *vm, u8 *smram);
};

#define SMRAM_SET(at, value)	smm_set_field(smram, SMM_SAVE + (at), 8, value)
#define BAD(id, what) static void bad_##id(struct vm *vm __attribute__((unused)), u8 *smram __attribute__((unused))) { what; }

BAD(flag, SMRAM_SET(S64_SVM_GUEST, 3))
BAD(unaligned, SMRAM_SET(S64_SVM_VMCB, (u64)&svm_vmcb + 8))
BAD(nowhere, SMRAM_SET(S64_SVM_VMCB, 0x40000000))
BAD(beyond, SMRAM_SET(S64_SVM_VMCB, 1ull << 60))
BAD(smram, SMRAM_SET(S64_SVM_VMCB, SMRAM_GPA))
BAD(efer, SMRAM_SET(S64_EFER, S64(smram, EFER) & ~EFER_SVME))
BAD(vmrun, svm_intercept(vmcb12(vm), ICPT_VMRUN, false))
BAD(asid, vmcb12(vm)->asid = 0)
BAD(msrpm, (svm_intercept(vmcb12(vm), 0x7c, true), vmcb12(vm)->msrpm = 0x40000000))
BAD(g_pat, vmcb12(vm)->g_pat = 2)
BAD(l1_real, hsave(vm)->cr0 = CR0_ET)
BAD(l1_cr0, hsave(vm)->cr0 |= CR0_NW)
BAD(l1_cr3, hsave(vm)->cr3 |= 1ull << 60)
BAD(l1_cr4, hsave(vm)->cr4 |= 1ull << 40)
BAD(l1_efer, hsave(vm)->efer &= ~EFER_SVME)
BAD(l1_vm, hsave(vm)->rflags |= 1 << 17)
BAD(l1_pat, hsave(vm)->g_pat = 2)
BAD(l1_nowhere, REQUIRE_EQ(vcpu_set_msr(vm->vcpu, MSR_VM_HSAVE_PA, 0x40000000), 1))

#define ROW(id) { #id, bad_##id }

static const struct bad bad[] = {
	ROW(flag), ROW(unaligned), ROW(nowhere), ROW(beyond), ROW(smram), ROW(efer), ROW(vmrun), ROW(asid), ROW(msrpm), ROW(g_pat),
	ROW(l1_real), ROW(l1_cr0), ROW(l1_cr3), ROW(l1_cr4), ROW(l1_efer), ROW(l1_vm), ROW(l1_pat), ROW(l1_nowhere),
};

TEST(refused_ways_back)
{
	static struct image before, after;
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vm *vm;
		u8 *smram;

		vm = start(&smram, true, false);
		xioctl(vm->vcpu->fd, KVM_SMI, NULL);
		RUN_UNTIL_SMM(vm->vcpu);
		bad[i].spoil(vm, smram);
		get(vm->vcpu, &before);
		if (vcpu_run(vm->vcpu) != RUN_OTHER ||
		    vm->vcpu->run->exit_reason != KVM_EXIT_SHUTDOWN)
			tap_fail(__FILE__, __LINE__, "%s: exit %u", bad[i].name,
				 vm->vcpu->run->exit_reason);
		get(vm->vcpu, &after);
		if (memcmp(&before, &after, sizeof(before)))
			tap_fail(__FILE__, __LINE__, "%s: not as it was", bad[i].name);
		vm_destroy(vm);
	}
}

/*
 * ... and the triple fault is an event like others: saved before it is taken, and taken elsewhere.
 */
static const struct vm_config each_exit = { .nr_vcpus = 1, .payload = true, .triple_fault = true, .each = true };

static void run_to_port(struct vcpu *vcpu, u16 port)
{
	REQUIRE(vcpu_run_each(vcpu) == RUN_OTHER && vcpu->run->exit_reason == KVM_EXIT_IO && vcpu->run->io.port == port);
}

static bool fault_waits(struct vcpu *vcpu)
{
	struct kvm_vcpu_events events;

	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	return (events.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) && events.triple_fault.pending;
}

static void move_the_fault(unsigned int row, u64 *seed)
{
	struct vm *vm = vm_create_with(&each_exit, NULL), *other;
	static struct image before, after;
	static struct vm_state state;
	u8 *smram, order[NR_PARTS];

	smram = smm_prepare(vm, 1);
	*guest_var(vm, &with_npt) = true;
	vcpu_set_long(vm->vcpu, guest_main, 0);
	run_to_port(vm->vcpu, PORT_LOOP);
	xioctl(vm->vcpu->fd, KVM_SMI, NULL);
	run_to_port(vm->vcpu, PORT_SMM);
	bad[row].spoil(vm, smram);
	do {
		RUN_UNTIL(vm->vcpu, STRATA_EXIT_EACH);
	} while (!fault_waits(vm->vcpu));
	state_save(vm, &each_exit, NULL, &state);
	other = vm_create_with(&each_exit, vm);
	state_shuffle(seed, order);
	state_restore(other, &each_exit, order, row & 1, &state);
	get(vm->vcpu, &before);
	get(other->vcpu, &after);
	CHECK_EQ(memcmp(&before, &after, sizeof(before)), 0);
	RUN_UNTIL(other->vcpu, KVM_EXIT_SHUTDOWN);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_SHUTDOWN);
	get(vm->vcpu, &before);
	get(other->vcpu, &after);
	CHECK_EQ(memcmp(&before, &after, sizeof(before)), 0);
	CHECK(!fault_waits(other->vcpu));
	CHECK_EQ(after.s.events.smi.smm, 1);
	vm_destroy(other);
	vm_destroy(vm);
}

TEST(refused_way_back_moved)
{
	u64 seed = 5;
	unsigned int i;

	need_npt();
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		move_the_fault(i, &seed);
}

/*
 * SMM switched on and off by userspace under L2 (what CVE-2022-48763 did not survive): L2 goes on
 * in what it was given.
 */
TEST(smm_flag_toggled_under_l2)
{
	struct kvm_vcpu_events events;
	static struct image image;
	struct vm *vm;
	u8 *smram;
	u32 i;

	vm = start(&smram, true, false);
	for (i = 0; i < 4; i++) {
		xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
		events.smi.smm = !(i & 1);
		xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
		get(vm->vcpu, &image);
		CHECK_EQ(image.s.events.smi.smm, !(i & 1));
		CHECK(image.nested.flags & KVM_STATE_NESTED_GUEST_MODE);
		if (i == 1)
			RUN_UNTIL_LOOP(vm->vcpu);
	}
	RUN_UNTIL_LOOP(vm->vcpu);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
