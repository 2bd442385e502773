// SPDX-License-Identifier: GPL-2.0
/*
 * What: states that KVM_SET_SREGS and KVM_SET_REGS take and that the CPU refuses to enter.
 * Conditions: VMX, in long mode; root for the module's parameter. The unit suite has all the checks
 * that the dump knows. Bochs makes none of RIP.
 * Expected: KVM_EXIT_FAIL_ENTRY with the CPU's reason (invalid guest state), every time; with
 * dump_invalid_vmcs=1 the log names the check; the vCPU runs when its state is mended.
 */
#include "cpu.h"
#include "kmsg.h"
#include "param.h"

#define INVALID_GUEST_STATE	0x80000021u
#define PARAM			"dump_invalid_vmcs"

static void guest_nothing(void)
{
	for (;;)
		guest_sync(1);
}

static void bad_cs(struct kvm_sregs *s, struct kvm_regs *r) { (void)r; s->cs.type = 5; }
static void bad_ss(struct kvm_sregs *s, struct kvm_regs *r) { (void)r; s->ss.type = 9; }
static void bad_ds(struct kvm_sregs *s, struct kvm_regs *r) { (void)r; s->ds.type = 9; s->ds.present = 1; s->ds.unusable = 0; }
static void bad_tr(struct kvm_sregs *s, struct kvm_regs *r) { (void)r; s->tr.type = 3; }
static void bad_ldtr(struct kvm_sregs *s, struct kvm_regs *r)
{
	(void)r;
	s->ldt = (struct kvm_segment){ .type = 3, .present = 1, .limit = 0xfff, .selector = 0x18 };
}

static void bad_v86(struct kvm_sregs *s, struct kvm_regs *r) { (void)s; r->rflags |= 1 << 17; }
static void bad_base(struct kvm_sregs *s, struct kvm_regs *r) { (void)r; s->cs.base = 1ull << 32; }
static void bad_fs(struct kvm_sregs *s, struct kvm_regs *r) { (void)r; s->fs.base = 1ull << 47; }
static void bad_gdt(struct kvm_sregs *s, struct kvm_regs *r) { (void)r; s->gdt.base = 1ull << 47; }
static void bad_rflags(struct kvm_sregs *s, struct kvm_regs *r) { (void)s; r->rflags |= 1 << 15; }

static const struct {
	const char *check;
	void (*spoil)(struct kvm_sregs *s, struct kvm_regs *r);
} rows[] = {
	{ "failed check: CS", bad_cs },
	{ "failed check: SS", bad_ss },
	{ "failed check: DS, ES, FS or GS", bad_ds },
	{ "failed check: TR", bad_tr },
	{ "failed check: LDTR", bad_ldtr },
	{ "failed check: virtual-8086 segments", bad_v86 },
	{ "failed check: CS", bad_base },
	{ "failed check: DS, ES, FS or GS", bad_fs },
	{ "failed check: GDTR or IDTR", bad_gdt },
	{ "failed check: RFLAGS", bad_rflags },
};

static void need_vmx(void)
{
	u32 regs[4];

	cpuid(0, 0, regs);
	if (regs[1] != 0x756e6547)	/* "Genu" */
		tap_skip("VMX only");
}

/* Refused twice, and taken again when it is mended. */
static void run_row(struct vm *vm, unsigned int i, int log)
{
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_sregs sregs, good_sregs;
	struct kvm_regs regs, good_regs;
	int round;

	xioctl(vcpu->fd, KVM_GET_SREGS, &good_sregs);
	xioctl(vcpu->fd, KVM_GET_REGS, &good_regs);
	sregs = good_sregs;
	regs = good_regs;
	rows[i].spoil(&sregs, &regs);
	xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
	for (round = 0; round < 2; round++) {
		CHECK_EQ(vcpu_run_raw(vcpu), 0);
		if (vcpu->run->exit_reason != KVM_EXIT_FAIL_ENTRY ||
		    (u32)vcpu->run->fail_entry.hardware_entry_failure_reason !=
			    INVALID_GUEST_STATE) {
			tap_fail(__FILE__, __LINE__, "%s: exit %u, %#llx", rows[i].check,
				 vcpu->run->exit_reason,
				 (unsigned long long)
					 vcpu->run->fail_entry.hardware_entry_failure_reason);
			return;
		}
		if (log >= 0 && !kmsg_says(log, "strata:", rows[i].check))
			tap_fail(__FILE__, __LINE__, "%s: not in the log", rows[i].check);
	}
	xioctl(vcpu->fd, KVM_SET_SREGS, &good_sregs);
	xioctl(vcpu->fd, KVM_SET_REGS, &good_regs);
	RUN_UNTIL_SYNC(vcpu, 1);
}

static void run_rows(int log)
{
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vm *vm = vm_create(1);

		vcpu_set_long(vm->vcpu, guest_nothing, 0);
		run_row(vm, i, log);
		vm_destroy(vm);
	}
}

TEST(reported_and_mended)
{
	need_vmx();
	run_rows(-1);
}

TEST(dump_names_the_check)
{
	char before;
	int log;

	need_vmx();
	STRATA_ONLY("the log's words are its own");
	before = param_letter(PARAM);
	CHECK_EQ(param_write_text(PARAM, "1"), 0);
	log = kmsg_open(false);
	run_rows(log);
	CHECK_EQ(param_write_text(PARAM, before == 'Y' ? "1" : "0"), 0);
}
