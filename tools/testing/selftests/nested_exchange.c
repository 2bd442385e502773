// SPDX-License-Identifier: GPL-2.0
/*
 * What: a guest hypervisor and its L2 move between strata and the in-tree module, there and back at every stop: in L1 with GIF clear, in L2 with and
 * without nested paging, with virtual interrupts, interrupts and NMIs pending; and from strata alone at an entry whose event has still to go in.
 * Conditions: AMD host; strata loaded; the in-tree modules in /modules-intree. Modules are loaded and unloaded in turn.
 * Expected: the guest counts every event once. Restored in the in-tree module's own order, nested state last.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "module.h"
#include "npt.h"
#include "../../../include/uapi/linux/strata.h"

/* ---- modules ---- */

static struct module lists[2][MAX_MODULES];
static int nr[2], loaded;

enum { STRATA, INTREE };

static int unload_patiently(const struct module *m)
{
	int i, r = -EAGAIN;

	for (i = 0; i < 200 && r; i++) {
		r = module_unload(m);
		if (r == -ENOENT)
			return 0;
		usleep(10000);
	}
	return r;
}

static void use(int which)
{
	int i, r;

	if (which == loaded)
		return;
	for (i = nr[loaded] - 1; i >= 0; i--)
		REQUIRE_EQ(unload_patiently(&lists[loaded][i]), 0);
	for (i = 0; i < nr[which]; i++) {
		r = module_load(&lists[which][i]);
		REQUIRE(!r || r == -EEXIST);
	}
	loaded = which;
}

static void find_modules(void)
{
	STRATA_ONLY("the test loads the other module itself");
	need_npt();
	nr[STRATA] = module_list("/modules/list", lists[STRATA]);
	nr[INTREE] = module_list("/modules-intree/list", lists[INTREE]);
	if (!nr[STRATA] || !nr[INTREE])
		tap_skip("no modules to load");
	loaded = STRATA;
}

/* ---- state ---- */

static const u32 msrs[] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_KERNEL_GS_BASE, MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_PAT,
	MSR_VM_HSAVE_PA,
};
#define NR_MSRS (sizeof(msrs) / sizeof(msrs[0]))

static struct image {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
	u64 msr[NR_MSRS];
	union {
		struct kvm_nested_state nested;
		u8 bytes[sizeof(struct kvm_nested_state) + 4096];
	};
} image;

static void save(struct vcpu *vcpu)
{
	unsigned int m;

	memset(&image, 0, sizeof(image));
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &image.events);
	xioctl(vcpu->fd, KVM_GET_MP_STATE, &image.mp);
	xioctl(vcpu->fd, KVM_GET_REGS, &image.regs);
	xioctl(vcpu->fd, KVM_GET_XSAVE, &image.xsave);
	xioctl(vcpu->fd, KVM_GET_XCRS, &image.xcrs);
	xioctl(vcpu->fd, KVM_GET_SREGS, &image.sregs);
	xioctl(vcpu->fd, KVM_GET_DEBUGREGS, &image.debugregs);
	for (m = 0; m < NR_MSRS; m++)
		REQUIRE_EQ(vcpu_get_msr(vcpu, msrs[m], &image.msr[m]), 1);
	image.nested.size = sizeof(image.bytes);
	xioctl(vcpu->fd, KVM_GET_NESTED_STATE, &image.nested);
}

static void restore(struct vcpu *vcpu)
{
	unsigned int m;

	/* What strata adds is for strata. */
	if (loaded == INTREE)
		memset(image.events.reserved, 0, sizeof(image.events.reserved));
	xioctl(vcpu->fd, KVM_SET_SREGS, &image.sregs);
	for (m = 0; m < NR_MSRS; m++)
		REQUIRE_EQ(vcpu_set_msr(vcpu, msrs[m], image.msr[m]), 1);
	xioctl(vcpu->fd, KVM_SET_XCRS, &image.xcrs);
	xioctl(vcpu->fd, KVM_SET_XSAVE, &image.xsave);
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &image.events);
	xioctl(vcpu->fd, KVM_SET_MP_STATE, &image.mp);
	xioctl(vcpu->fd, KVM_SET_DEBUGREGS, &image.debugregs);
	xioctl(vcpu->fd, KVM_SET_REGS, &image.regs);
	xioctl(vcpu->fd, KVM_SET_NESTED_STATE, &image.nested);
}

static struct vm *create(u8 *mem, bool each)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } };
	struct vm *vm = mem ? vm_create_bare(0) : vm_create(0);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);

	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	cap.cap = STRATA_CAP_EXIT_EACH;
	if (each)
		xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	if (!mem)
		return vm;
	vm->mem = mem;
	vm->next_table = GPA_STACKS;
	REQUIRE_EQ(vm_set_slot(vm, 0, 0, 0, SLOT0_SIZE, mem), 0);
	return vm;
}

/* The instruction that stopped is completed; then the vCPU goes on in a VM of the module. */
static struct vm *move(struct vm *vm, int which)
{
	u8 *mem = vm->mem;

	vm->vcpu->run->immediate_exit = 1;
	REQUIRE_EQ(vcpu_run_raw(vm->vcpu), -EINTR);
	vm->vcpu->run->immediate_exit = 0;
	save(vm->vcpu);
	vm->mem = NULL;
	vm_destroy(vm);
	use(which);
	vm = create(mem, false);
	restore(vm->vcpu);
	return vm;
}

/* ---- the guest ---- */

enum { STOP = 1, STOP_NMI, STOP_IRQ };

static volatile u64 seen[256];
static volatile u64 with_npt;
static struct npt npt;

static void on_event(struct guest_frame *f)
{
	seen[f->vector]++;
}

static void l2_stops(void)
{
	u32 r[4];

	guest_sync(STOP);
	cpuid(0, 0, r);
	guest_sync(STOP);
	vmmcall();
}

/* V_IRQ waits for IF, across a move. */
static void l2_virtual(void)
{
	guest_sync(STOP);
	GUEST_ASSERT_EQ(seen[0x55], 0);
	asm volatile("sti; nop; nop" : : : "memory");
	GUEST_ASSERT_EQ(seen[0x55], 1);
	vmmcall();
}

static void l2_takes(void)
{
	asm volatile("sti" : : : "memory");
	guest_sync(STOP_IRQ);
	asm volatile("nop" : : : "memory");
	GUEST_ASSERT_EQ(seen[0x41], 1);
	guest_sync(STOP_NMI);
	asm volatile("nop" : : : "memory");
	GUEST_ASSERT_EQ(seen[NMI_VECTOR], 1);
	vmmcall();
}

static void l2_pending(void)
{
	guest_sync(STOP_NMI);
	vmmcall();
}

static u64 run_l2(void (*fn)(void))
{
	svm_guest_restart(fn);
	return svm_vmrun(&svm_vmcb);
}

static void guest_rounds(void)
{
	GUEST_ASSERT_EQ(run_l2(l2_stops), SVM_EXIT_VMMCALL);
	svm_vmcb.int_ctl = V_INTR_MASKING | V_IRQ | V_PRIO(5);
	svm_vmcb.int_vector = 0x55;
	GUEST_ASSERT_EQ(run_l2(l2_virtual), SVM_EXIT_VMMCALL);
	svm_vmcb.int_ctl = 0;
	GUEST_ASSERT_EQ(run_l2(l2_takes), SVM_EXIT_VMMCALL);
	/* An NMI of L1's while L2 runs, and one while GIF is clear */
	svm_intercept(&svm_vmcb, ICPT_NMI, true);
	GUEST_ASSERT_EQ(run_l2(l2_pending), ICPT_NMI);
	guest_sync(STOP);
	GUEST_ASSERT_EQ(seen[NMI_VECTOR], 1);
	svm_stgi();
	GUEST_ASSERT_EQ(seen[NMI_VECTOR], 2);
	svm_clgi();
	guest_sync(STOP_NMI);
	GUEST_ASSERT_EQ(seen[NMI_VECTOR], 2);
	svm_stgi();
	GUEST_ASSERT_EQ(seen[NMI_VECTOR], 3);
	guest_done();
}

static void guest_main(void)
{
	u32 i;

	for (i = 0; i < 256; i++)
		guest_handlers[i] = on_event;
	if (with_npt)
		npt_guest_init(&npt, NPT_4LEVEL);
	else
		svm_guest_init(l2_stops);
	svm_clgi();
	guest_rounds();
}

static void serve(struct vcpu *vcpu)
{
	struct kvm_interrupt irq = { .irq = 0x41 };

	switch (vcpu_sync_value(vcpu)) {
	case STOP_NMI:
		xioctl(vcpu->fd, KVM_NMI, NULL);
		break;
	case STOP_IRQ:
		xioctl(vcpu->fd, KVM_INTERRUPT, &irq);
		break;
	default:
		break;
	}
}

static void there_and_back(int first, bool paging)
{
	unsigned int stops = 0;
	enum run_end end;
	struct vm *vm;

	find_modules();
	use(first);
	vm = create(NULL, false);
	*guest_var(vm, &with_npt) = paging;
	vcpu_set_long(vm->vcpu, guest_main, 0);
	while ((end = vcpu_run(vm->vcpu)) == RUN_SYNC) {
		vm->vcpu->run->immediate_exit = 1;
		REQUIRE_EQ(vcpu_run_raw(vm->vcpu), -EINTR);
		vm->vcpu->run->immediate_exit = 0;
		serve(vm->vcpu);
		vm = move(vm, !loaded);
		stops++;
	}
	if (end == RUN_OTHER)
		tap_fail(__FILE__, __LINE__, "on %s: exit %u", loaded ? "the in-tree module" : "strata", vm->vcpu->run->exit_reason);
	CHECK_EQ(end, RUN_DONE);
	CHECK_EQ(stops, 8);
	vm_destroy(vm);
	use(STRATA);
}

TEST(strata_first)			{ there_and_back(STRATA, false); }
TEST(strata_first_nested_paging)	{ there_and_back(STRATA, true); }
TEST(intree_first)			{ there_and_back(INTREE, false); }
TEST(intree_first_nested_paging)	{ there_and_back(INTREE, true); }

/* ---- an event of L1's that is not in yet ---- */

static void l2_calls(void)
{
	vmmcall();
}

static void ready_to_inject(void)
{
	u32 i;

	for (i = 0; i < 256; i++)
		guest_handlers[i] = on_event;
	npt_guest_init(&npt, NPT_4LEVEL);
	svm_clgi();
}

static void guest_injects(void)
{
	ready_to_inject();
	svm_vmcb.event_inj = INJ_VALID | INJ_INTR | 0x44;
	svm_guest_restart(l2_calls);
	svm_vmcb.rflags |= RFLAGS_IF;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(seen[0x44], 1);
	svm_vmcb.event_inj = INJ_VALID | INJ_EXCEPTION | INJ_ERROR | NP_VECTOR;
	GUEST_ASSERT_EQ(run_l2(l2_calls), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(seen[NP_VECTOR], 1);
	svm_vmcb.event_inj = INJ_VALID | INJ_NMI;
	GUEST_ASSERT_EQ(run_l2(l2_calls), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(seen[NMI_VECTOR], 1);
	svm_stgi();
	guest_done();
}

static void guest_injects_soft(void)
{
	ready_to_inject();
	/* As INT n, INT3 and ICEBP: L2 goes on where RIP and next_rip both point. */
	svm_vmcb.next_rip = (u64)l2_calls;
	svm_vmcb.event_inj = INJ_VALID | INJ_SOFT | 0x80;
	GUEST_ASSERT_EQ(run_l2(l2_calls), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(seen[0x80], 1);
	svm_vmcb.event_inj = INJ_VALID | INJ_EXCEPTION | BP_VECTOR;
	GUEST_ASSERT_EQ(run_l2(l2_calls), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(seen[BP_VECTOR], 1);
	svm_vmcb.event_inj = INJ_VALID | INJ_EXCEPTION | DB_VECTOR;
	GUEST_ASSERT_EQ(run_l2(l2_calls), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(seen[DB_VECTOR], 1);
	svm_stgi();
	guest_done();
}

/* Strata says in the nested state that the entry is under way, and which event is to go in. */
static bool event_waits(struct vcpu *vcpu)
{
	save(vcpu);
	return (image.nested.flags & KVM_STATE_NESTED_RUN_PENDING) &&
	       ((struct svm_vmcb *)(image.bytes + sizeof(image.nested)))->event_inj & INJ_VALID;
}

static void waits_for(void *guest, unsigned int which)
{
	unsigned int n = 0;
	struct vm *vm;

	vm = create(NULL, true);
	vcpu_set_long(vm->vcpu, guest, 0);
	do {
		REQUIRE_EQ(vcpu_run(vm->vcpu), RUN_OTHER);
		REQUIRE_EQ(vm->vcpu->run->exit_reason, STRATA_EXIT_EACH);
	} while (!event_waits(vm->vcpu) || n++ != which);
	vm = move(vm, INTREE);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
	use(STRATA);
}

static void waits(unsigned int which)
{
	find_modules();
	waits_for(guest_injects, which);
}

static void soft_waits(unsigned int which)
{
	find_modules();
	if (!(svm_features() & SVM_FEATURE_NRIPS))
		tap_skip("without next-RIP save the in-tree module's soft events get lost on TCG");
	waits_for(guest_injects_soft, which);
}

TEST(interrupt_of_an_entry)	{ waits(0); }
TEST(exception_of_an_entry)	{ waits(1); }
TEST(nmi_of_an_entry)		{ waits(2); }
TEST_TIMEOUT(int_n_of_an_entry, 200)	{ soft_waits(0); }
TEST_TIMEOUT(int3_of_an_entry, 200)	{ soft_waits(1); }
TEST_TIMEOUT(icebp_of_an_entry, 200)	{ soft_waits(2); }
