// SPDX-License-Identifier: GPL-2.0
/*
 * What: machine checks that userspace raises (KVM_X86_GET_MCE_CAP_SUPPORTED, KVM_X86_SETUP_MCE,
 * KVM_X86_SET_MCE): delivery as #MC, what the registers hold, errors that are only logged, and
 * those that the guest cannot take; one that comes beside another exception; one that waits is
 * moved to another vCPU.
 * Conditions: none.
 * Expected: as the SDM describes for uncorrected errors: #MC once, shutdown while MCG_STATUS.MCIP
 * is set or CR4.MCE is clear.
 */
#include <errno.h>
#include <string.h>

#include "cpu.h"

#define MC_VECTOR	18
#define MSR_MCG_CAP	0x179
#define MSR_MCG_STATUS	0x17a
#define MSR_MC_STATUS(b) (0x401 + 4 * (b))
#define MSR_MC_ADDR(b)	(0x402 + 4 * (b))
#define MSR_MC_MISC(b)	(0x403 + 4 * (b))
#define CR4_MCE		(1ull << 6)
#define MCG_RIPV	1ull
#define MCG_MCIP	4ull
#define MC_VAL		(1ull << 63)
#define MC_OVER		(1ull << 62)
#define MC_UC		(1ull << 61)
#define MC_EN		(1ull << 60)
#define BANKS		10
#define BANK		3

static volatile u64 checks, seen_status, seen_addr, seen_misc, seen_mcg;

static void on_mc(struct guest_frame *frame)
{
	(void)frame;
	checks++;
	seen_mcg = rdmsr(MSR_MCG_STATUS);
	seen_status = rdmsr(MSR_MC_STATUS(BANK));
	seen_addr = rdmsr(MSR_MC_ADDR(BANK));
	seen_misc = rdmsr(MSR_MC_MISC(BANK));
	guest_sync(0x100 + checks);
	wrmsr(MSR_MC_STATUS(BANK), 0);
	wrmsr(MSR_MCG_STATUS, 0);
}

static volatile u64 traps, seen_dr6;

static void on_db(struct guest_frame *frame)
{
	(void)frame;
	traps++;
	asm volatile("mov %%dr6, %0" : "=r"(seen_dr6));
}

static void guest_waits(void)
{
	guest_sync(1);
	guest_sync(2);
	guest_sync(3);
	guest_done();
}

static int set_mce(struct vcpu *vcpu, u8 bank, u64 status, u64 addr)
{
	struct kvm_x86_mce mce = {
		.bank = bank, .status = status, .addr = addr, .misc = 0x8c, .mcg_status = MCG_RIPV | MCG_MCIP,
	};

	return kvm_ioctl(vcpu->fd, KVM_X86_SET_MCE, &mce);
}

static void enable_payload(struct vm *vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } };

	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

static struct vm *mce_vm(u64 cr4)
{
	u64 cap = BANKS | 1 << 8;	/* MCG_CTL is there */
	struct kvm_sregs sregs;
	struct vm *vm;

	guest_handlers[MC_VECTOR] = on_mc;
	vm = vm_create(1);
	xioctl(vm->vcpu->fd, KVM_X86_SETUP_MCE, &cap);
	vcpu_set_long(vm->vcpu, guest_waits, 0);
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.cr4 |= cr4;
	xioctl(vm->vcpu->fd, KVM_SET_SREGS, &sregs);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	return vm;
}

/* What /dev/kvm offers can be had, and nothing beyond it. */
TEST(offered)
{
	struct vm *vm = vm_create(1);
	u64 all = 0, cap, bit;
	int r;

	CHECK_EQ(kvm_ioctl(vm->kvm, KVM_X86_GET_MCE_CAP_SUPPORTED, &all), 0);
	CHECK_EQ(kvm_ioctl(vm->kvm, KVM_X86_GET_MCE_CAP_SUPPORTED, NULL), -EFAULT);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &cap), -ENOTTY);
	CHECK(all & 1 << 8);
	/* The lower half has the count of banks and that of extended registers. */
	for (bit = 1 << 8; bit; bit <<= 1) {
		cap = BANKS | bit;
		r = kvm_ioctl(vm->vcpu->fd, KVM_X86_SETUP_MCE, &cap);
		if (bit & all)
			CHECK_EQ(r, 0);
		else if (bit & ~(0xffull << 16))
			CHECK_EQ(r, -EINVAL);
	}
	vm_destroy(vm);
}

TEST(uncorrected)
{
	struct vm *vm = mce_vm(CR4_MCE);
	struct vcpu *vcpu = vm->vcpu;

	CHECK_EQ(set_mce(vcpu, BANK, MC_VAL | MC_UC | MC_EN | 0x134, 0xabcd000), 0);
	RUN_UNTIL_SYNC(vcpu, 0x101);
	CHECK_EQ(*guest_var(vm, &seen_mcg), MCG_RIPV | MCG_MCIP);
	CHECK_EQ(*guest_var(vm, &seen_status), MC_VAL | MC_UC | MC_EN | 0x134);
	CHECK_EQ(*guest_var(vm, &seen_addr), 0xabcd000);
	CHECK_EQ(*guest_var(vm, &seen_misc), 0x8c);
	RUN_UNTIL_SYNC(vcpu, 2);
	CHECK_EQ(set_mce(vcpu, BANK, MC_VAL | MC_UC | MC_EN | 0x135, 0), 0);
	RUN_UNTIL_SYNC(vcpu, 0x102);
	RUN_UNTIL_SYNC(vcpu, 3);
	vm_destroy(vm);
}

/* Within the handler of the first there is no second. */
TEST(while_in_progress)
{
	struct vm *vm = mce_vm(CR4_MCE);
	struct vcpu *vcpu = vm->vcpu;

	CHECK_EQ(set_mce(vcpu, BANK, MC_VAL | MC_UC | MC_EN, 0), 0);
	RUN_UNTIL_SYNC(vcpu, 0x101);
	CHECK_EQ(set_mce(vcpu, BANK + 1, MC_VAL | MC_UC | MC_EN, 0), 0);
	RUN_UNTIL(vcpu, KVM_EXIT_SHUTDOWN);
	vm_destroy(vm);
}

TEST(without_cr4_mce)
{
	struct vm *vm = mce_vm(0);

	CHECK_EQ(set_mce(vm->vcpu, BANK, MC_VAL | MC_UC | MC_EN, 0), 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_SHUTDOWN);
	vm_destroy(vm);
}

/*
 * Corrected ones are logged, the second as an overflow; an uncorrected one that was logged is not
 * overwritten.
 */
TEST(corrected)
{
	struct vm *vm = mce_vm(CR4_MCE);
	struct vcpu *vcpu = vm->vcpu;
	u64 val;

	CHECK_EQ(set_mce(vcpu, BANK, MC_VAL | MC_EN | 1, 0x1000), 0);
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_MC_STATUS(BANK), &val), 1);
	CHECK_EQ(val, MC_VAL | MC_EN | 1);
	CHECK_EQ(set_mce(vcpu, BANK, MC_VAL | MC_EN | 2, 0x2000), 0);
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_MC_STATUS(BANK), &val), 1);
	CHECK_EQ(val, MC_VAL | MC_EN | MC_OVER | 2);
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_MCG_STATUS, &val), 1);
	CHECK_EQ(val, 0);
	RUN_UNTIL_SYNC(vcpu, 2);
	CHECK_EQ(*guest_var(vm, &checks), 0);
	CHECK_EQ(vcpu_set_msr(vcpu, MSR_MC_STATUS(BANK), MC_VAL | MC_UC | 7), 1);
	CHECK_EQ(set_mce(vcpu, BANK, MC_VAL | MC_EN | 3, 0x3000), 0);
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_MC_STATUS(BANK), &val), 1);
	CHECK_EQ(val, MC_VAL | MC_UC | MC_OVER | 7);
	vm_destroy(vm);
}

TEST(refused)
{
	struct vm *vm = mce_vm(CR4_MCE);
	struct vcpu *vcpu = vm->vcpu;
	u64 cap, val;

	CHECK_EQ(set_mce(vcpu, BANKS, MC_VAL | MC_UC, 0), -EINVAL);
	CHECK_EQ(set_mce(vcpu, 255, MC_VAL | MC_UC, 0), -EINVAL);
	CHECK_EQ(set_mce(vcpu, BANK, MC_UC, 0), -EINVAL);
	CHECK_EQ(kvm_ioctl(vcpu->fd, KVM_X86_SET_MCE, NULL), -EFAULT);
	cap = 0;
	CHECK_EQ(kvm_ioctl(vcpu->fd, KVM_X86_SETUP_MCE, &cap), -EINVAL);
	cap = 33;
	CHECK_EQ(kvm_ioctl(vcpu->fd, KVM_X86_SETUP_MCE, &cap), -EINVAL);
	cap = BANKS | 1ull << 40;
	CHECK_EQ(kvm_ioctl(vcpu->fd, KVM_X86_SETUP_MCE, &cap), -EINVAL);
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_MCG_CAP, &val), 1);
	CHECK_EQ(val, BANKS | 1 << 8);
	RUN_UNTIL_SYNC(vcpu, 2);
	CHECK_EQ(*guest_var(vm, &checks), 0);
	vm_destroy(vm);
}

/*
 * An exception that is pending is raised again by its instruction; the machine check is not,
 * whatever registers are set before the next run.
 */
TEST(beside_an_exception)
{
	struct vm *vm = mce_vm(CR4_MCE);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_vcpu_events ev;
	struct kvm_regs regs;

	STRATA_ONLY("KVM_SET_REGS drops no machine check");
	enable_payload(vm);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &ev);
	ev.exception.pending = 1;
	ev.exception.nr = UD_VECTOR;
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &ev);
	CHECK_EQ(set_mce(vcpu, BANK, MC_VAL | MC_UC | MC_EN, 0x6000), 0);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &ev);
	CHECK_EQ(ev.exception.pending, 1);
	CHECK_EQ(ev.exception.nr, MC_VECTOR);
	RUN_UNTIL_SYNC(vcpu, 0x101);
	CHECK_EQ(*guest_var(vm, &seen_addr), 0x6000);
	RUN_UNTIL_SYNC(vcpu, 2);
	vm_destroy(vm);
}

/* A trap's causes are told once the machine check is being handled. */
TEST(beside_a_trap)
{
	struct vm *vm = mce_vm(CR4_MCE);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_vcpu_events ev;

	STRATA_ONLY("a debug trap that a machine check overtakes");
	enable_payload(vm);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &ev);
	ev.exception.pending = 1;
	ev.exception.nr = DB_VECTOR;
	ev.exception_has_payload = 1;
	ev.exception_payload = 1 << 14;
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &ev);
	*guest_var(vm, &guest_handlers[DB_VECTOR]) = on_db;
	CHECK_EQ(set_mce(vcpu, BANK, MC_VAL | MC_UC | MC_EN, 0), 0);
	RUN_UNTIL_SYNC(vcpu, 0x101);
	RUN_UNTIL_SYNC(vcpu, 2);
	CHECK(*guest_var(vm, &seen_dr6) & 1 << 14);
	CHECK_EQ(*guest_var(vm, &traps), 1);
	vm_destroy(vm);
}

/* Not delivered yet: an exception in the queue, and it goes with the vCPU. */
TEST(moves)
{
	struct vm *vm = mce_vm(CR4_MCE), *other = mce_vm(CR4_MCE);
	struct kvm_vcpu_events ev, again;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	CHECK_EQ(set_mce(vm->vcpu, BANK, MC_VAL | MC_UC | MC_EN, 0x5000), 0);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &ev);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &again);
	CHECK_EQ(memcmp(&ev, &again, sizeof(ev)), 0);
	CHECK_EQ(ev.exception.nr, MC_VECTOR);
	CHECK_EQ(ev.exception.injected | ev.exception.pending, 1);
	CHECK_EQ(ev.exception.has_error_code, 0);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	xioctl(other->vcpu->fd, KVM_SET_SREGS, &sregs);
	xioctl(other->vcpu->fd, KVM_SET_REGS, &regs);
	xioctl(other->vcpu->fd, KVM_SET_VCPU_EVENTS, &ev);
	CHECK_EQ(vcpu_set_msr(other->vcpu, MSR_MC_ADDR(BANK), 0x5000), 1);
	CHECK_EQ(vcpu_set_msr(other->vcpu, MSR_MCG_STATUS, MCG_RIPV | MCG_MCIP), 1);
	RUN_UNTIL_SYNC(other->vcpu, 0x101);
	CHECK_EQ(*guest_var(other, &seen_addr), 0x5000);
	RUN_UNTIL_SYNC(other->vcpu, 2);
	RUN_UNTIL_SYNC(vm->vcpu, 0x101);
	vm_destroy(other);
	vm_destroy(vm);
}
