// SPDX-License-Identifier: GPL-2.0
/*
 * What: RDMSR and WRMSR in the guest agree with KVM_GET_MSRS and KVM_SET_MSRS; unknown MSRs fault;
 * MSR filters and KVM_CAP_X86_USER_SPACE_MSR hand accesses to userspace; TSC and its frequency.
 * Conditions: the filter cases need their capabilities.
 * Expected: as the guest sees it on hardware; a filtered access goes to userspace once, and its
 * answer, or #GP, to the guest; whatever way the instruction came to be executed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

#define FILTERED MSR_CSTAR

static void guest_msrs(void)
{
	u64 value;

	wrmsr(MSR_STAR, 0x1122334455667788ull);
	GUEST_ASSERT_EQ(rdmsr(MSR_STAR), 0x1122334455667788ull);
	wrmsr(MSR_SYSENTER_EIP, 0xffff800012345678ull);
	GUEST_ASSERT_EQ(rdmsr(MSR_SYSENTER_EIP), 0xffff800012345678ull);
	wrmsr(MSR_FS_BASE, 0x8000);
	GUEST_ASSERT_EQ(rdmsr(MSR_FS_BASE), 0x8000);
	GUEST_ASSERT_EQ(rdmsr(MSR_EFER), EFER_LME | EFER_LMA | EFER_NX | EFER_SCE);
	GUEST_ASSERT_EQ(rdmsr_try(0x12345678, &value), GP_VECTOR);
	GUEST_ASSERT_EQ(this_cpu()->error, 0);
	GUEST_ASSERT_EQ(wrmsr_try(0x12345678, 0), GP_VECTOR);
	/* Reserved bits, and LME may not change under paging. */
	GUEST_ASSERT_EQ(wrmsr_try(MSR_EFER, 1ull << 40), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_EFER, EFER_LMA | EFER_NX), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_PAT, 0x0202020202020202ull), GP_VECTOR);
	wrmsr(MSR_PAT, 0x0007040600070406ull);
	GUEST_ASSERT_EQ(rdmsr(MSR_PAT), 0x0007040600070406ull);
	guest_sync(1);
	GUEST_ASSERT_EQ(rdmsr(MSR_LSTAR), 0xffff900000000000ull);
	guest_done();
}

TEST(guest_and_ioctl_agree)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u64 value;

	vcpu_set_long(vcpu, guest_msrs, 0);
	RUN_UNTIL_SYNC(vcpu, 1);
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_STAR, &value), 1);
	CHECK_EQ(value, 0x1122334455667788ull);
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_FS_BASE, &value), 1);
	CHECK_EQ(value, 0x8000);
	CHECK_EQ(vcpu_set_msr(vcpu, MSR_LSTAR, 0xffff900000000000ull), 1);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

/* Where the CPU has 57 of their bits, CR4 may be set before or afterwards. */
TEST(addresses_before_cr4)
{
	struct vm *vm = vm_create(1);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);
	struct kvm_cpuid_entry2 *e = cpuid_entry(cpuid, 7, 0);
	int wide = e && (e->ecx & 1 << 16);
	u64 value;

	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_LSTAR, 0x00ff800000000000ull), wide);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KERNEL_GS_BASE, 0x0100000000000000ull), 0);
	CHECK_EQ(vcpu_get_msr(vm->vcpu, MSR_LSTAR, &value), 1);
	CHECK_EQ(value, wide ? 0x00ff800000000000ull : 0);
	free(cpuid);
	vm_destroy(vm);
}

static void guest_filtered(void)
{
	u64 value;

	GUEST_ASSERT_EQ(rdmsr_try(FILTERED, &value), -1ull);
	GUEST_ASSERT_EQ(value, 0xabcdef0123456789ull);
	GUEST_ASSERT_EQ(wrmsr_try(FILTERED, 0x7777), -1ull);
	GUEST_ASSERT_EQ(rdmsr_try(FILTERED, &value), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(FILTERED, 0x8888), GP_VECTOR);
	/* Its neighbour is not filtered. */
	wrmsr(MSR_SFMASK, 0x300);
	GUEST_ASSERT_EQ(rdmsr(MSR_SFMASK), 0x300);
	guest_sync(1);
	/* Without the exit to userspace a denied access is #GP. */
	GUEST_ASSERT_EQ(rdmsr_try(FILTERED, &value), GP_VECTOR);
	guest_sync(2);
	GUEST_ASSERT_EQ(rdmsr_try(FILTERED, &value), -1ull);
	guest_done();
}

static void user_space_msr(struct vm *vm, u64 reasons)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args[0] = reasons };

	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

static void filter_one(struct vm *vm, u32 index)
{
	static u8 deny[1];
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = {
			.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			.base = index,
			.nmsrs = 1,
			.bitmap = deny,
		},
	};

	xioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter);
}

static void expect_msr(struct vcpu *vcpu, u32 reason)
{
	RUN_UNTIL(vcpu, reason);
	CHECK_EQ(vcpu->run->msr.index, FILTERED);
	CHECK_EQ(vcpu->run->msr.reason, KVM_MSR_EXIT_REASON_FILTER);
	vcpu->run->msr.error = 0;
}

TEST(filter_to_userspace)
{
	struct kvm_msr_filter none = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW };
	struct vcpu *vcpu;
	struct vm *vm;

	NEED_CAP(KVM_CAP_X86_USER_SPACE_MSR);
	NEED_CAP(KVM_CAP_X86_MSR_FILTER);
	vm = vm_create(1);
	vcpu = vm->vcpu;
	user_space_msr(vm, KVM_MSR_EXIT_REASON_FILTER);
	filter_one(vm, FILTERED);
	vcpu_set_long(vcpu, guest_filtered, 0);
	expect_msr(vcpu, KVM_EXIT_X86_RDMSR);
	vcpu->run->msr.data = 0xabcdef0123456789ull;
	expect_msr(vcpu, KVM_EXIT_X86_WRMSR);
	CHECK_EQ(vcpu->run->msr.data, 0x7777);
	expect_msr(vcpu, KVM_EXIT_X86_RDMSR);
	vcpu->run->msr.error = 1;
	expect_msr(vcpu, KVM_EXIT_X86_WRMSR);
	vcpu->run->msr.error = 1;
	RUN_UNTIL_SYNC(vcpu, 1);
	user_space_msr(vm, 0);
	RUN_UNTIL_SYNC(vcpu, 2);
	xioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &none);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

extern u8 load_of_mmio[];

static void guest_replaced(void)
{
	asm volatile(".globl load_of_mmio\n"
		     "load_of_mmio: movb (%%rbx), %%al"
		     : : "a"(0x9999), "b"(0x20000000ull), "c"(FILTERED), "d"(0) : "memory");
	guest_done();
}

/*
 * The code changes while userspace serves its access: a WRMSR that is there then is filtered, too.
 */
TEST(filter_and_changed_code)
{
	static const u8 wrmsr_insn[] = { 0x0f, 0x30 };
	struct vcpu *vcpu;
	struct vm *vm;

	NEED_CAP(KVM_CAP_X86_USER_SPACE_MSR);
	NEED_CAP(KVM_CAP_X86_MSR_FILTER);
	vm = vm_create(1);
	vcpu = vm->vcpu;
	user_space_msr(vm, KVM_MSR_EXIT_REASON_FILTER);
	filter_one(vm, FILTERED);
	vcpu_set_long(vcpu, guest_replaced, 0);
	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	memcpy(gpa_to_host(vm, (u64)load_of_mmio), wrmsr_insn, sizeof(wrmsr_insn));
	expect_msr(vcpu, KVM_EXIT_X86_WRMSR);
	CHECK_EQ(vcpu->run->msr.data, 0x9999);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

TEST(filter_rejected)
{
	struct kvm_msr_filter filter = { .flags = 0x80000000 };
	struct vm *vm;

	NEED_CAP(KVM_CAP_X86_MSR_FILTER);
	vm = vm_create(1);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), -EINVAL);
	/* Denying everything needs at least one range. */
	filter.flags = KVM_MSR_FILTER_DEFAULT_DENY;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), -EINVAL);
	filter.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
	filter.ranges[0].nmsrs = 8;
	filter.ranges[0].flags = 0x80;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), -EINVAL);
	filter.ranges[0].flags = KVM_MSR_FILTER_READ;
	filter.ranges[0].bitmap = (void *)8;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), -EFAULT);
	vm_destroy(vm);
}

static void guest_denied(void)
{
	u64 value;

	/* In the range and allowed; in it and not; beside it */
	wrmsr(MSR_STAR, 0x1111);
	GUEST_ASSERT_EQ(rdmsr_try(MSR_STAR, &value), -1ull);
	GUEST_ASSERT_EQ(value, 0x1111);
	GUEST_ASSERT_EQ(rdmsr_try(MSR_LSTAR, &value), GP_VECTOR);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_LSTAR, 0x1000), GP_VECTOR);
	GUEST_ASSERT_EQ(rdmsr_try(MSR_SYSENTER_CS, &value), GP_VECTOR);
	/*
	 * Two ranges have it, and the first one decides; reading and writing have bitmaps of their
	 * own.
	 */
	GUEST_ASSERT_EQ(rdmsr_try(MSR_CSTAR, &value), -1ull);
	GUEST_ASSERT_EQ(wrmsr_try(MSR_CSTAR, 0x1000), GP_VECTOR);
	guest_done();
}

/* What no range names is denied; userspace's own accesses are not filtered. */
TEST(filter_denies_by_default)
{
	static u8 first = 0x5, second = 0xff;	/* STAR and CSTAR of four */
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_DENY,
		.ranges[0] = { .flags = KVM_MSR_FILTER_READ, .base = MSR_STAR, .nmsrs = 4, .bitmap = &first },
		.ranges[1] = { .flags = KVM_MSR_FILTER_WRITE, .base = MSR_STAR, .nmsrs = 1, .bitmap = &second },
		.ranges[2] = { .flags = KVM_MSR_FILTER_READ, .base = MSR_STAR, .nmsrs = 4, .bitmap = &second },
	};
	struct vm *vm;
	u64 value;

	NEED_CAP(KVM_CAP_X86_MSR_FILTER);
	vm = vm_create(1);
	xioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter);
	vcpu_set_long(vm->vcpu, guest_denied, 0);
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_LSTAR, 0xffff800000002000ull), 1);
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(vcpu_get_msr(vm->vcpu, MSR_LSTAR, &value), 1);
	CHECK_EQ(value, 0xffff800000002000ull);
	vm_destroy(vm);
}

static void guest_unknown(void)
{
	u64 value;

	GUEST_ASSERT_EQ(rdmsr_try(0x12345678, &value), -1ull);
	GUEST_ASSERT_EQ(value, 5);
	guest_done();
}

TEST(unknown_to_userspace)
{
	struct vm *vm;

	NEED_CAP(KVM_CAP_X86_USER_SPACE_MSR);
	vm = vm_create(1);
	user_space_msr(vm, KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL);
	vcpu_set_long(vm->vcpu, guest_unknown, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_X86_RDMSR);
	CHECK_EQ(vm->vcpu->run->msr.index, 0x12345678);
	vm->vcpu->run->msr.data = 5;
	vm->vcpu->run->msr.error = 0;
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void guest_tsc(void)
{
	u64 a, b;

	for (;;) {
		a = rdtsc();
		b = rdmsr(MSR_TSC);
		GUEST_ASSERT(b >= a);
		this_cpu()->spare[0] = rdtsc();
		GUEST_ASSERT(this_cpu()->spare[0] >= b);
		guest_sync(0);
	}
}

/* RDTSC, RDMSR and KVM_GET_MSRS are one clock; setting it sets what the guest reads. */
TEST(tsc)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u64 before, after, seen;
	int khz, khz_after;

	vcpu_set_long(vcpu, guest_tsc, 0);
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_TSC, &before), 1);
	RUN_UNTIL_SYNC(vcpu, 0);
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_TSC, &after), 1);
	seen = vcpu_report(vcpu)->spare[0];
	CHECK(before <= seen && seen <= after);
	CHECK_EQ(vcpu_set_msr(vcpu, MSR_TSC, 1ull << 50), 1);
	RUN_UNTIL_SYNC(vcpu, 0);
	seen = vcpu_report(vcpu)->spare[0];
	CHECK(seen >= 1ull << 50 && seen < (1ull << 50) + (1ull << 40));
	khz = kvm_ioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);
	/*
	 * A loaded emulator's clocks drift apart, and the host's kernel may stop trusting the TSC
	 * at any time.
	 */
	if (khz == -EIO) {
		tap_note("the host's TSC is unstable");
	} else {
		CHECK(khz > 0);
		CHECK_EQ(kvm_ioctl_val(vcpu->fd, KVM_SET_TSC_KHZ, khz), 0);
		khz_after = kvm_ioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);
		CHECK(khz_after == khz || khz_after == -EIO);
	}
	vm_destroy(vm);
}
