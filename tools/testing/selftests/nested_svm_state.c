// SPDX-License-Identifier: GPL-2.0
/*
 * What: a guest hypervisor and its L2 moved to another vCPU after every exit, the SETs in changing
 * order: through VMRUN, events injected by L1, their delivery, exits to both levels. Checks of
 * KVM_SET_NESTED_STATE. A control block whose page is gone.
 * Conditions: guests are offered SVM; strata's capabilities for exact events and for stops at every
 * exit.
 * Expected: the guest does not notice; a GET straight after the SETs gives what was set, twice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emulator.h"
#include "svm.h"
#include "../../../include/uapi/linux/strata.h"

#define NESTED_SIZE (sizeof(struct kvm_nested_state) + 4096)

static const u32 msrs[] = {
	MSR_STAR, MSR_LSTAR, MSR_KERNEL_GS_BASE, MSR_SYSENTER_EIP, MSR_PAT, MSR_VM_HSAVE_PA, MSR_VM_CR,
};
#define NR_MSRS (sizeof(msrs) / sizeof(msrs[0]))

struct image {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	u64 msr[NR_MSRS];
	union {
		struct kvm_nested_state nested;
		u8 bytes[NESTED_SIZE];
	};
};

static void save(struct vcpu *vcpu, struct image *i)
{
	unsigned int m;

	memset(i, 0, sizeof(*i));
	i->nested.size = NESTED_SIZE;
	xioctl(vcpu->fd, KVM_GET_NESTED_STATE, &i->nested);
	xioctl(vcpu->fd, KVM_GET_REGS, &i->regs);
	xioctl(vcpu->fd, KVM_GET_SREGS, &i->sregs);
	xioctl(vcpu->fd, KVM_GET_DEBUGREGS, &i->debugregs);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &i->events);
	for (m = 0; m < NR_MSRS; m++)
		REQUIRE_EQ(vcpu_get_msr(vcpu, msrs[m], &i->msr[m]), 1);
}

static void set_part(struct vcpu *vcpu, struct image *i, unsigned int part)
{
	unsigned int m;

	switch (part) {
	case 0: xioctl(vcpu->fd, KVM_SET_NESTED_STATE, &i->nested); break;
	case 1: xioctl(vcpu->fd, KVM_SET_REGS, &i->regs); break;
	case 2: xioctl(vcpu->fd, KVM_SET_SREGS, &i->sregs); break;
	case 3: xioctl(vcpu->fd, KVM_SET_DEBUGREGS, &i->debugregs); break;
	case 4: xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &i->events); break;
	default:
		for (m = 0; m < NR_MSRS; m++)
			REQUIRE_EQ(vcpu_set_msr(vcpu, msrs[m], i->msr[m]), 1);
	}
}

#define PARTS 6

static void restore(struct vcpu *vcpu, struct image *i, u64 *seed)
{
	unsigned int order[PARTS], n, j, t;

	for (n = 0; n < PARTS; n++)
		order[n] = n;
	for (n = PARTS - 1; n; n--) {
		*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
		j = (*seed >> 33) % (n + 1);
		t = order[n];
		order[n] = order[j];
		order[j] = t;
	}
	for (n = 0; n < PARTS; n++)
		set_part(vcpu, i, order[n]);
}

static struct vm *create(bool each, u8 *mem)
{
	struct kvm_enable_cap cap = { };
	struct kvm_cpuid2 *cpuid;
	struct vm *vm;

	need_svm();
	STRATA_ONLY("exact events and stops at every exit");
	vm = vm_create_bare(0);
	cpuid = supported_cpuid(vm->kvm);
	cap.cap = STRATA_CAP_EVENTS;
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	cap.cap = KVM_CAP_EXCEPTION_PAYLOAD;
	cap.args[0] = 1;
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	cap.cap = STRATA_CAP_EXIT_EACH;
	if (each)
		xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	vm->mem = mem;
	vm->next_table = GPA_TABLES;
	REQUIRE_EQ(vm_set_slot(vm, 0, 0, 0, SLOT0_SIZE, mem), 0);
	return vm;
}

/* ---- the guest ---- */

static volatile u64 event_count[256], event_rip, l2_count;

static void on_event(struct guest_frame *frame)
{
	event_count[frame->vector]++;
	event_rip = frame->rip;
}

static void l2_main(void)
{
	u32 out[4];

	for (;;) {
		l2_count++;
		cpuid(0, 0, out);
		wrmsr(MSR_KERNEL_GS_BASE, l2_count << 12);
		GUEST_ASSERT_EQ(rdmsr(MSR_KERNEL_GS_BASE), l2_count << 12);
		GUEST_ASSERT_FAULTS(GP_VECTOR, "mov $0x12345678, %%ecx; rdmsr");
		asm volatile("int3");
		asm volatile("int $0x70");
		vmmcall();
	}
}

static u64 has_nrips;

static void inject(u32 event, u32 error, unsigned int back, unsigned int vector)
{
	u64 before, count;

again:
	before = event_count[vector];
	count = l2_count;
	svm_guest_restart(l2_main);
	if (back && has_nrips)
		svm_vmcb.rip -= back;
	svm_vmcb.next_rip = (u64)l2_main;
	svm_vmcb.event_inj = event | vector | INJ_VALID;
	svm_vmcb.event_error = error;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_VMMCALL);
	if (svm_repeated(event, event_count[vector] - before))
		goto again;
	GUEST_ASSERT_EQ(event_count[vector], before + 1 + (vector == BP_VECTOR || vector == 0x70));
	GUEST_ASSERT_EQ(l2_count, count + 1);
}

static void guest_main(void)
{
	unsigned int i, round;

	for (i = 0; i < 256; i++)
		if (i != GP_VECTOR)
			guest_handlers[i] = on_event;
	svm_guest_init(l2_main);
	for (round = 0; round < 6; round++) {
		inject(INJ_INTR, 0, 0, 0x40);
		inject(INJ_NMI, 0, 0, NMI_VECTOR);
		inject(INJ_EXCEPTION | INJ_ERROR, 0x1234, 0, NP_VECTOR);
		inject(INJ_EXCEPTION, 0, 0, UD_VECTOR);
		inject(INJ_SOFT, 0, 2, 0x80);
		inject(INJ_SOFT, 0, 2, 0x70);
		inject(INJ_EXCEPTION, 0, 1, BP_VECTOR);
		svm_intercept(&svm_vmcb, SVM_EXIT_CPUID, true);
		svm_guest_restart(l2_main);
		GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_CPUID);
		svm_intercept(&svm_vmcb, SVM_EXIT_CPUID, false);
		svm_stgi();
		svm_clgi();
		svm_vmcb.int_ctl = V_INTR_MASKING | V_IRQ | V_PRIO(3) | 2;
		svm_vmcb.int_vector = 0x55;
	}
	/* Handed back */
	svm_vmcb.int_ctl = 0;
	svm_vmcb.idtr.base = 0x200000000ull;
	svm_vmcb.intercept[2] = 1u << PF_VECTOR;
	svm_guest_restart(l2_main);
	svm_vmcb.event_inj = INJ_SOFT | 0x99 | INJ_VALID;
	svm_vmcb.next_rip = (u64)l2_main;
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), SVM_EXIT_EXCP_BASE + PF_VECTOR);
	GUEST_ASSERT_EQ(svm_vmcb.exit_int_info, INJ_SOFT | 0x99 | INJ_VALID);
	svm_stgi();
	guest_done();
}

static struct vm *start(bool each)
{
	struct vm *vm = vm_create(1), *second = create(each, vm->mem);

	*guest_var(second, &has_nrips) = !!(svm_features() & SVM_FEATURE_NRIPS);
	*guest_var(second, &guest_under_tcg) = false;
	*guest_var(second, &svm_may_repeat) = host_is_tcg();
	vcpu_set_long(second->vcpu, guest_main, 0);
	vm->mem = NULL;
	vm_destroy(vm);
	return second;
}

static void same(const char *what, const struct image *a, const struct image *b)
{
	if (!memcmp(a, b, sizeof(*a)))
		return;
	tap_fail(__FILE__, __LINE__,
		 "%s: regs %d sregs %d debugregs %d events %d msrs %d nested %d (flags %#x, %#x)",
		 what, !!memcmp(&a->regs, &b->regs, sizeof(a->regs)),
		 !!memcmp(&a->sregs, &b->sregs, sizeof(a->sregs)),
		 !!memcmp(&a->debugregs, &b->debugregs, sizeof(a->debugregs)),
		 !!memcmp(&a->events, &b->events, sizeof(a->events)),
		 !!memcmp(a->msr, b->msr, sizeof(a->msr)),
		 !!memcmp(a->bytes, b->bytes, sizeof(a->bytes)), a->nested.flags, b->nested.flags);
}

TEST_TIMEOUT(moved_at_every_exit, 200)
{
	struct vm *vm = start(true), *other = create(true, vm->mem), *t;
	unsigned int stops = 0, in_l2 = 0, pending = 0, with_event = 0, stuck = 0;
	static struct image image, again;
	u64 seed = 1, rip = 0;

	for (;;) {
		enum run_end end = vcpu_run(vm->vcpu);

		if (end == RUN_DONE || end == RUN_FAILED)
			break;
		if (vm->vcpu->run->exit_reason != STRATA_EXIT_EACH) {
			tap_fail(__FILE__, __LINE__, "stop %u: exit %u", stops,
				 vm->vcpu->run->exit_reason);
			break;
		}
		stops++;
		save(vm->vcpu, &image);
		save(vm->vcpu, &again);
		same("GET changes state", &image, &again);
		in_l2 += !!(image.nested.flags & KVM_STATE_NESTED_GUEST_MODE);
		pending += !!(image.nested.flags & KVM_STATE_NESTED_RUN_PENDING);
		with_event += (image.nested.flags & KVM_STATE_NESTED_RUN_PENDING) &&
			      ((struct svm_vmcb *)image.nested.data.svm->vmcb12)->event_inj >> 31;
		/*
		 * Where INT3 exits it is not reported, as it happens again by itself: moved each
		 * time, it would never get on.
		 */
		stuck = image.regs.rip == rip ? stuck + 1 : 0;
		rip = image.regs.rip;
		if (stuck > 8)
			continue;
		/* Now and then a new one */
		if (stops % 16 == 0) {
			other->mem = NULL;
			vm_destroy(other);
			other = create(true, vm->mem);
		}
		restore(other->vcpu, &image, &seed);
		save(other->vcpu, &again);
		same("GET after SET", &image, &again);
		t = vm;
		vm = other;
		other = t;
	}
	tap_note("%u stops, %u in L2, %u with a run pending, %u of them with an event", stops,
		 in_l2, pending, with_event);
	CHECK(stops > 200 && in_l2 > 100 && pending >= 48 && with_event >= 42);
	other->mem = NULL;
	vm_destroy(other);
	vm_destroy(vm);
}

/* ---- refusals ---- */

static struct image base;

#define REFUSED(...)									\
	do {										\
		struct image i_ = base;							\
		struct kvm_nested_state *s = &i_.nested;				\
		struct svm_vmcb *b = (struct svm_vmcb *)s->data.svm->vmcb12;		\
											\
		(void)b;								\
		__VA_ARGS__;								\
		CHECK_EQ(kvm_ioctl(vcpu->fd, KVM_SET_NESTED_STATE, s), -EINVAL);	\
	} while (0)

/* Runs until the first stop in L2. */
static struct vm *stop_in_l2(void)
{
	struct vm *vm = start(true);

	do {
		REQUIRE_EQ(vcpu_run(vm->vcpu), RUN_OTHER);
		save(vm->vcpu, &base);
	} while (!(base.nested.flags & KVM_STATE_NESTED_GUEST_MODE));
	return vm;
}

TEST(set_checks)
{
	struct vm *vm = stop_in_l2();
	struct vcpu *vcpu = vm->vcpu;
	struct image now;

	REFUSED(s->format = KVM_STATE_NESTED_FORMAT_VMX);
	REFUSED(s->flags |= KVM_STATE_NESTED_EVMCS);
	REFUSED(s->flags |= 0x4000);
	REFUSED(s->flags = KVM_STATE_NESTED_RUN_PENDING);
	REFUSED(s->size = sizeof(*s) - 1);
	REFUSED(s->size = NESTED_SIZE - 1);
	REFUSED(s->hdr.svm.vmcb_pa |= 8);
	REFUSED(s->hdr.svm.vmcb_pa = 1ull << 60);
	REFUSED(b->asid = 0);
	REFUSED(svm_intercept(b, ICPT_VMRUN, false));
	REFUSED(s->flags |= KVM_STATE_NESTED_RUN_PENDING; b->event_inj = INJ_VALID | 5 << 8);
	REFUSED(b->cr0 &= ~CR0_PE);
	REFUSED(b->cr3 |= 1ull << 52);
	REFUSED(b->cr4 |= 1ull << 40);
	REFUSED(b->efer &= ~EFER_SVME);
	REFUSED(b->rflags |= 1 << 17);
	save(vcpu, &now);
	same("refusals change nothing", &base, &now);
	base.nested.size = sizeof(base.nested);
	CHECK_EQ(kvm_ioctl(vcpu->fd, KVM_GET_NESTED_STATE, &base.nested), -E2BIG);
	CHECK_EQ(base.nested.size, NESTED_SIZE);
	vm_destroy(vm);
}

/* Nothing of the image is what userspace's buffer held before, or memory of the host's. */
static void filled(struct vcpu *vcpu)
{
	static struct image a, b;
	unsigned int i;

	memset(a.bytes, 0x55, sizeof(a.bytes));
	memset(b.bytes, 0xaa, sizeof(b.bytes));
	a.nested.size = b.nested.size = NESTED_SIZE;
	xioctl(vcpu->fd, KVM_GET_NESTED_STATE, &a.nested);
	xioctl(vcpu->fd, KVM_GET_NESTED_STATE, &b.nested);
	CHECK(!memcmp(a.bytes, b.bytes, sizeof(a.bytes)));
	for (i = sizeof(struct kvm_nested_state) + offsetof(struct svm_vmcb, rsvd_698);
	     i < NESTED_SIZE; i++)
		if (a.bytes[i])
			tap_fail(__FILE__, __LINE__, "byte %u is %#x", i, a.bytes[i]);
}

TEST(every_byte_is_written)
{
	struct vm *vm = stop_in_l2();

	filled(vm->vcpu);
	xioctl(vm->vcpu->fd, KVM_SET_NESTED_STATE, &base.nested);
	filled(vm->vcpu);
	RUN_UNTIL(vm->vcpu, STRATA_EXIT_EACH);
	save(vm->vcpu, &base);
	if (base.nested.flags & KVM_STATE_NESTED_GUEST_MODE)
		filled(vm->vcpu);
	vm_destroy(vm);
}

/*
 * L1's control block is where no memory is: no entry, a clean exit, and with the memory back all
 * goes on.
 */
TEST(page_is_gone)
{
	struct vm *vm = stop_in_l2(), *other = create(true, vm->mem);
	u64 seed = 3, i;

	REQUIRE_EQ(vm_set_slot(other, 0, 0, 0, 0, vm->mem), 0);
	restore(other->vcpu, &base, &seed);
	for (i = 0; i < 3; i++) {
		static struct image again;

		RUN_UNTIL(other->vcpu, KVM_EXIT_INTERNAL_ERROR);
		save(other->vcpu, &again);
		same("kept", &base, &again);
	}
	REQUIRE_EQ(vm_set_slot(other, 0, 0, 0, SLOT0_SIZE, vm->mem), 0);
	RUN_UNTIL(other->vcpu, STRATA_EXIT_EACH);
	vm->mem = NULL;
	vm_destroy(vm);
	vm_destroy(other);
}

/* Leaving L2 by a SET keeps the registers, which are those of the other ioctls. */
TEST(set_leaves)
{
	struct vm *vm = stop_in_l2();
	struct image now;

	base.nested.flags = KVM_STATE_NESTED_GIF_SET;
	base.nested.size = sizeof(base.nested);
	xioctl(vm->vcpu->fd, KVM_SET_NESTED_STATE, &base.nested);
	save(vm->vcpu, &now);
	CHECK_EQ(now.nested.flags, KVM_STATE_NESTED_GIF_SET);
	CHECK_EQ(now.nested.size, sizeof(base.nested));
	CHECK(!memcmp(&now.regs, &base.regs, sizeof(now.regs)));
	CHECK(!memcmp(&now.sregs, &base.sregs, sizeof(now.sregs)));
	vm_destroy(vm);
}
