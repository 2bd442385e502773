// SPDX-License-Identifier: GPL-2.0
/*
 * What: every capability that the module reports: its value, the ioctls it stands for, and whether
 * KVM_ENABLE_CAP takes it, with which arguments, and when.
 * Conditions: strata: the table below is a list of what it offers.
 * Expected: no capability without a row here; a good argument is taken, a wrong one or a late call
 * is -EINVAL and changes nothing, and what is not to be enabled cannot be.
 */
#include <errno.h>
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"

enum fd_kind { NONE, SYS, VM, VCPU };
enum rule {
	EXACT,		/* the value */
	AT_LEAST,	/* or more */
	ANY,		/* the hardware's: any value, 0 too */
};

/* KVM_ENABLE_CAP: never (0), at any time, or only before the first vCPU */
#define ANYTIME	1
#define EARLY	2

struct row {
	long cap;
	const char *name;
	enum rule rule;
	int value;
	/* An ioctl that comes with it: not -ENOTTY, and -EFAULT or better for a null pointer. */
	enum fd_kind fd;
	unsigned long cmd;
	int enable;
	u64 good, bad;
};

#define ROW(c, r, v, ...) { .cap = KVM_CAP_##c, .name = #c, .rule = r, .value = v, __VA_ARGS__ }
#define WITH(kind, ioctl) .fd = kind, .cmd = ioctl
#define GUESTDBG_ALL 0x1f0003

static const struct row rows[] = {
	ROW(IRQCHIP, EXACT, 1, WITH(VM, KVM_GET_IRQCHIP)),
	ROW(HLT, EXACT, 1),
	ROW(MMU_SHADOW_CACHE_CONTROL, EXACT, 1, WITH(VM, KVM_SET_NR_MMU_PAGES)),
	ROW(USER_MEMORY, EXACT, 1, WITH(VM, KVM_SET_USER_MEMORY_REGION)),
	ROW(USER_MEMORY2, EXACT, 1),
	ROW(SET_TSS_ADDR, EXACT, 1, WITH(VM, KVM_SET_TSS_ADDR)),
	ROW(EXT_CPUID, EXACT, 1, WITH(SYS, KVM_GET_SUPPORTED_CPUID)),
	ROW(NR_VCPUS, AT_LEAST, 1),
	ROW(NR_MEMSLOTS, AT_LEAST, 509),
	ROW(MP_STATE, EXACT, 1, WITH(VCPU, KVM_GET_MP_STATE)),
	ROW(COALESCED_MMIO, EXACT, 2, WITH(VM, KVM_REGISTER_COALESCED_MMIO)),
	ROW(COALESCED_PIO, EXACT, 1, WITH(VM, KVM_UNREGISTER_COALESCED_MMIO)),
	ROW(SYNC_MMU, EXACT, 1),
	ROW(USER_NMI, EXACT, 1, WITH(VCPU, KVM_NMI)),
	ROW(SET_GUEST_DEBUG, EXACT, 1, WITH(VCPU, KVM_SET_GUEST_DEBUG)),
	ROW(SET_GUEST_DEBUG2, EXACT, GUESTDBG_ALL, WITH(VCPU, KVM_SET_GUEST_DEBUG)),
	ROW(DESTROY_MEMORY_REGION_WORKS, EXACT, 1),
	ROW(JOIN_MEMORY_REGIONS_WORKS, EXACT, 1),
	ROW(MCE, EXACT, 32, WITH(VCPU, KVM_X86_SETUP_MCE)),
	ROW(SET_IDENTITY_MAP_ADDR, EXACT, 1, WITH(VM, KVM_SET_IDENTITY_MAP_ADDR)),
	ROW(ADJUST_CLOCK, EXACT, 0xe, WITH(VM, KVM_SET_CLOCK)),
	ROW(KVMCLOCK_CTRL, EXACT, 1, WITH(VCPU, KVM_KVMCLOCK_CTRL)),
	ROW(HALT_POLL, EXACT, 1, .enable = ANYTIME, .good = 1000, .bad = 1ull << 32),
	ROW(ASYNC_PF, EXACT, 1),
	ROW(ASYNC_PF_INT, EXACT, 1),
	ROW(INTERNAL_ERROR_DATA, EXACT, 1),
	ROW(VCPU_EVENTS, EXACT, 1, WITH(VCPU, KVM_GET_VCPU_EVENTS)),
	ROW(INTR_SHADOW, EXACT, 1),
	ROW(DEBUGREGS, EXACT, 1, WITH(VCPU, KVM_GET_DEBUGREGS)),
	ROW(X86_ROBUST_SINGLESTEP, EXACT, 1),
	ROW(ENABLE_CAP, EXACT, 1, WITH(VCPU, KVM_ENABLE_CAP)),
	ROW(ENABLE_CAP_VM, EXACT, 1, WITH(VM, KVM_ENABLE_CAP)),
	ROW(XSAVE, EXACT, 1, WITH(VCPU, KVM_GET_XSAVE)),
	ROW(XSAVE2, AT_LEAST, 4096, WITH(VCPU, KVM_GET_XSAVE2)),
	ROW(XCRS, ANY, 0, WITH(VCPU, KVM_GET_XCRS)),
	ROW(GET_TSC_KHZ, EXACT, 1, WITH(VCPU, KVM_GET_TSC_KHZ)),
	ROW(TSC_CONTROL, ANY, 0, WITH(VCPU, KVM_SET_TSC_KHZ)),
	ROW(VM_TSC_CONTROL, ANY, 0),
	ROW(MAX_VCPUS, AT_LEAST, 255),
	ROW(MAX_VCPU_ID, AT_LEAST, 1024, .enable = ANYTIME, .good = 64, .bad = 1ull << 32),
	ROW(READONLY_MEM, EXACT, 1),
	ROW(CHECK_EXTENSION_VM, EXACT, 1),
	ROW(IMMEDIATE_EXIT, EXACT, 1),
	ROW(SYNC_REGS, EXACT, KVM_SYNC_X86_VALID_FIELDS),
	ROW(GET_MSR_FEATURES, EXACT, 1, WITH(SYS, KVM_GET_MSR_FEATURE_INDEX_LIST)),
	ROW(MULTI_ADDRESS_SPACE, EXACT, 2),
	ROW(X86_SMM, EXACT, 1, WITH(VCPU, KVM_SMI)),
	ROW(NESTED_STATE, ANY, 0, WITH(VCPU, KVM_GET_NESTED_STATE)),
	ROW(EXCEPTION_PAYLOAD, EXACT, 1, .enable = ANYTIME, .good = 1),
	ROW(X86_TRIPLE_FAULT_EVENT, EXACT, 1, .enable = ANYTIME, .good = 1),
	ROW(X86_DISABLE_EXITS, AT_LEAST, KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE, .enable = EARLY, .good = 0, .bad = 1ull << 40),
	ROW(X86_USER_SPACE_MSR, EXACT, 7, .enable = ANYTIME, .good = 7, .bad = 8),
	ROW(X86_MSR_FILTER, EXACT, 1, WITH(VM, KVM_X86_SET_MSR_FILTER)),
	ROW(MANUAL_DIRTY_LOG_PROTECT2, EXACT, 3, WITH(VM, KVM_CLEAR_DIRTY_LOG), .enable = ANYTIME, .good = 3, .bad = 2),
	ROW(SREGS2, EXACT, 1, WITH(VCPU, KVM_GET_SREGS2)),
	ROW(BINARY_STATS_FD, EXACT, 1),
	ROW(IRQ_ROUTING, EXACT, 4096, WITH(VM, KVM_SET_GSI_ROUTING)),
	ROW(IRQ_INJECT_STATUS, EXACT, 1, WITH(VM, KVM_IRQ_LINE_STATUS)),
	ROW(SPLIT_IRQCHIP, EXACT, 1, .enable = EARLY, .good = 24, .bad = 4097),
	ROW(X2APIC_API, EXACT, 3, .enable = ANYTIME, .good = 3, .bad = 4),
	ROW(TSC_DEADLINE_TIMER, EXACT, 1),
	ROW(SET_BOOT_CPU_ID, EXACT, 1),
	ROW(SIGNAL_MSI, EXACT, 1, WITH(VM, KVM_SIGNAL_MSI)),
	ROW(PIT, EXACT, 1, WITH(VM, KVM_GET_PIT)),
	ROW(PIT2, EXACT, 1, WITH(VM, KVM_CREATE_PIT2)),
	ROW(PIT_STATE2, EXACT, 1, WITH(VM, KVM_GET_PIT2)),
	ROW(REINJECT_CONTROL, EXACT, 1, WITH(VM, KVM_REINJECT_CONTROL)),
	ROW(VAPIC, EXACT, 1, WITH(VCPU, KVM_TPR_ACCESS_REPORTING)),
	ROW(IOEVENTFD, EXACT, 1, WITH(VM, KVM_IOEVENTFD)),
	ROW(IOEVENTFD_NO_LENGTH, EXACT, 1, WITH(VM, KVM_IOEVENTFD)),
	ROW(IOEVENTFD_ANY_LENGTH, EXACT, 1, WITH(VM, KVM_IOEVENTFD)),
	ROW(IRQFD, EXACT, 1, WITH(VM, KVM_IRQFD)),
	ROW(IRQFD_RESAMPLE, EXACT, 1, WITH(VM, KVM_IRQFD)),
	ROW(VM_DISABLE_NX_HUGE_PAGES, EXACT, 1, .enable = EARLY, .good = 0, .bad = 1),
	ROW(SYS_ATTRIBUTES, EXACT, 1, WITH(SYS, KVM_HAS_DEVICE_ATTR)),
	ROW(VCPU_ATTRIBUTES, EXACT, 1, WITH(VCPU, KVM_HAS_DEVICE_ATTR)),
	/* The one that is enabled on a vCPU: see the case below. */
	ROW(ENFORCE_PV_FEATURE_CPUID, EXACT, 1, WITH(VCPU, KVM_ENABLE_CAP)),
	{ .cap = STRATA_CAP_EVENTS, .name = "STRATA_EVENTS", .value = 1, .enable = EARLY },
	{ .cap = STRATA_CAP_EXIT_EACH, .name = "STRATA_EXIT_EACH", .value = 1, .enable = EARLY },
};

#define NR_ROWS (sizeof(rows) / sizeof(rows[0]))

static int enable(int fd, long cap, u32 flags, u64 arg)
{
	struct kvm_enable_cap request = { .cap = cap, .flags = flags, .args = { arg } };

	return kvm_ioctl(fd, KVM_ENABLE_CAP, &request);
}

TEST(values)
{
	struct vm *vm;
	unsigned int i;

	STRATA_ONLY("the table of capabilities");
	vm = vm_create_bare(0);
	for (i = 0; i < NR_ROWS; i++) {
		int on_sys = kvm_cap(vm->kvm, rows[i].cap), on_vm = kvm_cap(vm->fd, rows[i].cap);

		if (on_sys != on_vm || on_vm < 0)
			tap_fail(__FILE__, __LINE__, "%s: /dev/kvm says %d, the VM %d",
				 rows[i].name, on_sys, on_vm);
		if (rows[i].rule == EXACT ? on_vm != rows[i].value : rows[i].rule == AT_LEAST && on_vm < rows[i].value)
			tap_fail(__FILE__, __LINE__, "%s is %#x, not %#x", rows[i].name, on_vm,
				 rows[i].value);
	}
	vm_destroy(vm);
}

/* Without XSAVE there is no register to get or set. */
TEST(xcrs_with_xsave)
{
	u32 regs[4];

	cpuid(1, 0, regs);
	CHECK_EQ(kvm_cap(kvm_open(), KVM_CAP_XCRS), regs[2] >> 27 & 1);
}

static bool has_row(long cap)
{
	unsigned int i;

	for (i = 0; i < NR_ROWS; i++)
		if (rows[i].cap == cap)
			return true;
	return false;
}

/* Whoever adds a capability adds a row. */
TEST(none_is_missing)
{
	int kvm = kvm_open();
	long cap;

	STRATA_ONLY("the table of capabilities");
	for (cap = 0; cap < 1024; cap++)
		if (kvm_cap(kvm, cap) && !has_row(cap))
			tap_fail(__FILE__, __LINE__, "capability %ld has no row", cap);
	for (cap = STRATA_CAP_EVENTS & ~0xffl; cap <= (STRATA_CAP_EVENTS | 0xff); cap++)
		if (kvm_cap(kvm, cap) && !has_row(cap))
			tap_fail(__FILE__, __LINE__, "capability %#lx has no row", cap);
}

TEST(ioctls)
{
	unsigned int i;
	struct vm *vm;
	int fd, r;

	STRATA_ONLY("the table of capabilities");
	vm = vm_create_bare(1);
	for (i = 0; i < NR_ROWS; i++) {
		if (rows[i].fd == NONE)
			continue;
		fd = rows[i].fd == SYS ? vm->kvm : rows[i].fd == VM ? vm->fd : vm->vcpu->fd;
		r = kvm_ioctl(fd, rows[i].cmd, NULL);
		if (r == -ENOTTY && kvm_cap(vm->fd, rows[i].cap) > 0)
			tap_fail(__FILE__, __LINE__, "%s: its ioctl is not there", rows[i].name);
	}
	vm_destroy(vm);
}

static void expect(const struct row *row, const char *when, int got, int want)
{
	if (got != want)
		tap_fail(__FILE__, __LINE__, "%s %s: %d, not %d", row->name, when, got, want);
}

static void check_enable(const struct row *row)
{
	struct vm *vm = vm_create_bare(0);

	expect(row, "with flags", enable(vm->fd, row->cap, 1, row->good), -EINVAL);
	if (!row->enable) {
		expect(row, "is not to be enabled", enable(vm->fd, row->cap, 0, row->good),
		       -EINVAL);
		vm_destroy(vm);
		return;
	}
	if (row->bad)
		expect(row, "with a wrong argument", enable(vm->fd, row->cap, 0, row->bad),
		       -EINVAL);
	expect(row, "before a vCPU", enable(vm->fd, row->cap, 0, row->good), 0);
	vm_destroy(vm);
	vm = vm_create_bare(1);
	expect(row, "on a vCPU", enable(vm->vcpu->fd, row->cap, 0, row->good), -EINVAL);
	expect(row, "after a vCPU", enable(vm->fd, row->cap, 0, row->good), row->enable == EARLY ? -EINVAL : 0);
	vm_destroy(vm);
}

TEST_TIMEOUT(enable_cap, 120)
{
	unsigned int i;
	struct vm *vm;

	STRATA_ONLY("the table of capabilities");
	for (i = 0; i < NR_ROWS; i++)
		check_enable(&rows[i]);
	vm = vm_create_bare(1);
	CHECK_EQ(enable(vm->fd, 1023, 0, 0), -EINVAL);
	CHECK_EQ(enable(vm->vcpu->fd, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 0, 1), 0);
	CHECK_EQ(enable(vm->vcpu->fd, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1, 1), -EINVAL);
	vm_destroy(vm);
}
