// SPDX-License-Identifier: GPL-2.0
/*
 * What: what other implementations of nested SVM had to mend, each case named after what it
 * prevents. Documentation/nested.rst says which mistake is which case, here and elsewhere.
 * Conditions: guests are offered SVM with nested paging.
 * Expected: as the manual has it; and userspace may stuff whatever it likes.
 */
#include <errno.h>
#include <string.h>

#include "npt.h"
#include "../../../include/uapi/linux/strata.h"

#define NOWHERE		0x7000000000ull
#define OWN_GPA		0x10000000ull	/* a slot of its own, for a control block */
#define NESTED_SIZE	(sizeof(struct kvm_nested_state) + 4096)

static union {
	struct kvm_nested_state nested;
	u8 bytes[NESTED_SIZE];
} blob;

static struct npt npt;

static struct vm *start(void (*fn)(void))
{
	struct vm *vm;

	need_npt();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static void run_to_end(void (*fn)(void))
{
	struct vm *vm = start(fn);

	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void get_nested(struct vcpu *vcpu)
{
	blob.nested.size = NESTED_SIZE;
	xioctl(vcpu->fd, KVM_GET_NESTED_STATE, &blob.nested);
}

static void l2_calls(void)
{
	for (;;)
		vmmcall();
}

/* ---- a refused entry is a #VMEXIT, which clears GIF ---- */

static void guest_refused(void)
{
	svm_guest_init(l2_calls);
	svm_stgi();
	guest_sync(1);
	svm_vmcb.asid = 0;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_INVALID);
	guest_sync(2);
	guest_done();
}

TEST(gif_is_clear_behind_a_refused_entry)
{
	struct vm *vm = start(guest_refused);

	RUN_UNTIL_SYNC(vm->vcpu, 1);
	get_nested(vm->vcpu);
	CHECK(blob.nested.flags & KVM_STATE_NESTED_GIF_SET);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	get_nested(vm->vcpu);
	CHECK(!(blob.nested.flags & KVM_STATE_NESTED_GIF_SET));
	vm_destroy(vm);
}

/* ---- what the exit writes of L1's control block, and what not ---- */

static struct svm_vmcb before;

/* The C library's would use vector registers. */
static void same(const void *a, const void *b, u64 size)
{
	const volatile u8 *x = a, *y = b;
	u64 i;

	for (i = 0; i < size; i++)
		GUEST_ASSERT_EQ(x[i], y[i]);
}

static void guest_unowned(void)
{
	svm_guest_init(l2_calls);
	svm_vmcb.event_inj = INJ_VALID | INJ_EXCEPTION | UD_VECTOR;
	svm_vmcb.virt_ext = 4;
	svm_vmcb.clean = 0;
	svm_vmcb.pause_count = 0x77;
	svm_vmcb.dbgctl = svm_vmcb.br_from = svm_vmcb.excp_to = 0x1234;
	before = svm_vmcb;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(svm_vmcb.event_inj & INJ_VALID, 0);
	GUEST_ASSERT_EQ(svm_vmcb.clean, before.clean);
	GUEST_ASSERT_EQ(svm_vmcb.virt_ext, before.virt_ext);
	GUEST_ASSERT_EQ(svm_vmcb.dbgctl, before.dbgctl);
	GUEST_ASSERT_EQ(svm_vmcb.br_from, before.br_from);
	GUEST_ASSERT_EQ(svm_vmcb.excp_to, before.excp_to);
	/* Intercepts up to the TSC offset, ASID and TLB control, nested paging */
	same(&svm_vmcb, &before, offsetof(struct svm_vmcb, int_ctl));
	GUEST_ASSERT_EQ(svm_vmcb.nested_ctl, before.nested_ctl);
	GUEST_ASSERT_EQ(svm_vmcb.ncr3, before.ncr3);
	same(svm_vmcb.rsvd_0e0, before.rsvd_0e0, sizeof(before.rsvd_0e0));
	guest_done();
}

static void on_ud(struct guest_frame *f)
{
	(void)f;
}

TEST(event_and_fields_of_l1s_behind_an_exit)
{
	guest_handlers[UD_VECTOR] = on_ud;
	run_to_end(guest_unowned);
}

/* ---- a control block that is not there ---- */

static void guest_nowhere(void)
{
	svm_guest_init(l2_calls);
	GUEST_ASSERT_FAULTS(GP_VECTOR, "movabs $0x7000000000, %%rax; vmrun %%rax");
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	guest_done();
}

TEST(entry_without_memory_is_gp)
{
	run_to_end(guest_nowhere);
}

static void l2_stops(void)
{
	out32(0x80, 1);
	vmmcall();
}

static void guest_own_slot(void)
{
	svm_guest_init(l2_stops);
	*(struct svm_vmcb *)OWN_GPA = svm_vmcb;
	svm_vmrun((struct svm_vmcb *)OWN_GPA);
	GUEST_ASSERT(0);
}

TEST(exit_without_memory_is_shutdown)
{
	struct vm *vm = start(guest_own_slot);
	void *page = host_alloc(4096, 4096);

	REQUIRE_EQ(vm_set_slot(vm, 1, 0, OWN_GPA, 4096, page), 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, OWN_GPA, 0, NULL), 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_SHUTDOWN);
	vm_destroy(vm);
}

/* ---- L1 in PAE mode ---- */

static struct npt l1_tables;

static void l2_spoils(void)
{
	*(volatile u64 *)l1_tables.root |= 6;
	vmmcall();
}

static void guest_pae(void)
{
	npt_init(&l1_tables, NPT_PAE);
	svm_guest_init(l2_calls);
	GUEST_ASSERT_EQ(svm_vmrun_mode(&svm_vmcb, l1_tables.root, CR4_PAE, rdmsr(MSR_EFER) & ~(EFER_LMA | EFER_LME)), SVM_EXIT_VMMCALL);
	svm_guest_restart(l2_spoils);
	svm_vmrun_mode(&svm_vmcb, l1_tables.root, CR4_PAE,
		       rdmsr(MSR_EFER) & ~(EFER_LMA | EFER_LME));
	GUEST_ASSERT(0);
}

TEST(l1s_pointers_bad_at_an_exit_are_shutdown)
{
	struct vm *vm;

	STRATA_ONLY("the in-tree module of this kernel goes on");
	vm = start(guest_pae);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_SHUTDOWN);
	vm_destroy(vm);
}

/*
 * Bits 4..0 of nCR3 are ignored in this mode; the pointers are in the 32 bytes that the rest names.
 */
static void guest_low_bits(void)
{
	npt_guest_init(&npt, NPT_PAE);
	GUEST_ASSERT_DONE(NPT_READ, GPA_HEAP);
	svm_vmcb.ncr3 = npt.root | 0x1f;
	svm_vmcb.tlb_ctl = 1;
	GUEST_ASSERT_DONE(NPT_READ, GPA_HEAP);
	guest_done();
}

TEST(low_bits_of_the_nested_root)
{
	run_to_end(guest_low_bits);
}

/* ---- VMMCALL is the hypervisor's of the level that makes it ---- */

static void l2_hypercall(void)
{
	GUEST_ASSERT_FAULTS(UD_VECTOR, "vmmcall");
	out32(0x80, 1);
	__builtin_unreachable();
}

static void guest_no_vmmcall(void)
{
	svm_guest_init(l2_hypercall);
	svm_intercept(&svm_vmcb, ICPT_VMMCALL, false);
	svm_vmrun(&svm_vmcb);
}

TEST(hypercall_of_l2_is_not_l0s)
{
	struct vm *vm = start(guest_no_vmmcall);

	STRATA_ONLY("the in-tree module of this kernel does it");
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	vm_destroy(vm);
}

/* ---- each level has a PAT of its own under nested paging ---- */

#define PAT_L1	0x0007040600070406ull
#define PAT_L2	0x0606060606060606ull

static void l2_pat(void)
{
	GUEST_ASSERT_EQ(rdmsr(MSR_PAT), PAT_L2);
	wrmsr(MSR_PAT, PAT_L2 ^ 2);
	vmmcall();
}

static void guest_pat(void)
{
	npt_guest_init(&npt, NPT_4LEVEL);
	svm_guest_restart(l2_pat);
	svm_vmcb.g_pat = PAT_L2;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(svm_vmcb.g_pat, PAT_L2 ^ 2);
	GUEST_ASSERT_EQ(rdmsr(MSR_PAT), PAT_L1);
	guest_done();
}

TEST(pat_of_each_level)
{
	STRATA_ONLY("the in-tree module has one PAT for both");
	run_to_end(guest_pat);
}

/* ---- states that no guest gets into ---- */

static struct vm *stepping(void (*fn)(void))
{
	struct kvm_enable_cap cap = { .cap = STRATA_CAP_EXIT_EACH };
	struct vm *vm = vm_create(0);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);

	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static void guest_injects(void)
{
	u32 i;

	svm_guest_init(l2_calls);
	for (i = 0; i < 4; i++) {
		svm_vmcb.event_inj = INJ_VALID | INJ_EXCEPTION | UD_VECTOR;
		svm_vmrun(&svm_vmcb);
	}
	guest_done();
}

static void stuff(struct vcpu *vcpu, unsigned int what)
{
	struct kvm_mp_state mp = { .mp_state = what & 1 ? KVM_MP_STATE_HALTED : KVM_MP_STATE_INIT_RECEIVED };
	struct kvm_vcpu_events events;
	struct kvm_sregs sregs;

	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	switch (what) {
	case 0:
	case 1:
		kvm_ioctl(vcpu->fd, KVM_SET_MP_STATE, &mp);
		return;
	case 2:
		sregs.efer &= ~EFER_SVME;
		break;
	case 3:
		sregs.cr0 &= ~CR0_PG;
		sregs.efer &= ~EFER_LMA;
		break;
	case 4:
		sregs.cr3 = NOWHERE;
		break;
	case 5:
		events.exception.injected = 1;
		events.exception.nr = GP_VECTOR;
		events.nmi.injected = 1;
		events.interrupt.injected = 1;
		kvm_ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
		return;
	default:
		events.smi.smm = 1;
		events.smi.pending = 1;
		events.smi.latched_init = 1;
		kvm_ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
		return;
	}
	kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
}

/*
 * An entry under way, and userspace changes what it depends on: no word of the host's kernel, and
 * an end.
 */
TEST(stuffed_while_an_entry_is_pending)
{
	unsigned int what, i;

	need_npt();
	STRATA_ONLY("KVM_RUN stops at the entry");
	for (what = 0; what < 7; what++) {
		struct vm *vm = stepping(guest_injects);

		do {
			REQUIRE_EQ(vcpu_run(vm->vcpu), RUN_OTHER);
			REQUIRE_EQ(vm->vcpu->run->exit_reason, STRATA_EXIT_EACH);
			get_nested(vm->vcpu);
		} while (!(blob.nested.flags & KVM_STATE_NESTED_RUN_PENDING));
		stuff(vm->vcpu, what);
		for (i = 0; i < 20; i++) {
			vm->vcpu->run->immediate_exit = i & 1;
			vcpu_run_raw(vm->vcpu);
		}
		vm_destroy(vm);
	}
}
