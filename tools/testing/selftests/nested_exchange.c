// SPDX-License-Identifier: GPL-2.0
/*
 * What: a guest hypervisor and its L2 move between strata and the in-tree module, there and back at
 * every stop: in L1 with GIF clear, in L2 with and without nested paging, with virtual interrupts,
 * interrupts and NMIs pending.
 * Conditions: AMD host; strata loaded; the in-tree modules in /modules-intree. Modules are loaded
 * and unloaded in turn.
 * Expected: the guest counts every event once. Restored in the in-tree module's own order, nested
 * state last.
 */
#include <errno.h>

#include "exchange.h"
#include "npt.h"

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

	exchange_need();
	exchange_use(first);
	vm = exchange_create(false);
	*guest_var(vm, &with_npt) = paging;
	vcpu_set_long(vm->vcpu, guest_main, 0);
	while ((end = vcpu_run(vm->vcpu)) == RUN_SYNC) {
		REQUIRE_EQ(vcpu_run_nothing(vm->vcpu), -EINTR);
		serve(vm->vcpu);
		vm = exchange_move(vm, !exchange_loaded());
		stops++;
	}
	if (end == RUN_OTHER)
		tap_fail(__FILE__, __LINE__, "on %s: exit %u", exchange_loaded() ? "the in-tree module" : "strata", vm->vcpu->run->exit_reason);
	CHECK_EQ(end, RUN_DONE);
	CHECK_EQ(stops, 8);
	vm_destroy(vm);
	exchange_use(STRATA);
}

TEST(strata_first)			{ there_and_back(STRATA, false); }
TEST(strata_first_nested_paging)	{ there_and_back(STRATA, true); }
TEST(intree_first)			{ there_and_back(INTREE, false); }
TEST(intree_first_nested_paging)	{ there_and_back(INTREE, true); }
