// SPDX-License-Identifier: GPL-2.0
/*
 * What: the system file descriptor: API version, KVM_CHECK_EXTENSION as a table, mmap size, CPUID
 * and MSR lists with their size protocol; commands on the wrong file descriptor, unknown commands,
 * bad pointers.
 * Conditions: none.
 * Expected: documented values and errnos, and no capability offered whose ioctls are not there
 * (probed with a NULL argument: -EFAULT or success says it exists, -ENOTTY that it does not).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cpu.h"

TEST(api_version)
{
	int kvm = kvm_open();

	CHECK_EQ(kvm_ioctl(kvm, KVM_GET_API_VERSION, NULL), 12);
	CHECK_EQ(kvm_ioctl_val(kvm, KVM_GET_API_VERSION, 1), -EINVAL);
	CHECK_EQ(kvm_ioctl_val(kvm, KVM_GET_VCPU_MMAP_SIZE, 1), -EINVAL);
	CHECK(kvm_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL) >= (int)sizeof(struct kvm_run));
	CHECK_EQ(kvm_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL) % getpagesize(), 0);
}

/*
 * What QEMU, kvmtool, Firecracker or gVisor refuses to go without; XCRS, which depends on the CPU,
 * is among the capabilities' own tests.
 */
TEST(required_capabilities)
{
	static const struct {
		int cap;
		const char *name;
		int least;
	} caps[] = {
		{ KVM_CAP_USER_MEMORY, "USER_MEMORY", 1 },
		{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "DESTROY_MEMORY_REGION_WORKS", 1 },
		{ KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "JOIN_MEMORY_REGIONS_WORKS", 1 },
		{ KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR", 1 },
		{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "SET_IDENTITY_MAP_ADDR", 1 },
		{ KVM_CAP_EXT_CPUID, "EXT_CPUID", 1 },
		{ KVM_CAP_MP_STATE, "MP_STATE", 1 },
		{ KVM_CAP_DEBUGREGS, "DEBUGREGS", 1 },
		{ KVM_CAP_X86_ROBUST_SINGLESTEP, "X86_ROBUST_SINGLESTEP", 1 },
		{ KVM_CAP_XSAVE, "XSAVE", 1 },
		{ KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS", 1 },
		{ KVM_CAP_INTERNAL_ERROR_DATA, "INTERNAL_ERROR_DATA", 1 },
		{ KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK", 1 },
		{ KVM_CAP_NR_MEMSLOTS, "NR_MEMSLOTS", 32 },
		{ KVM_CAP_NR_VCPUS, "NR_VCPUS", 1 },
		{ KVM_CAP_MAX_VCPUS, "MAX_VCPUS", 1 },
		{ KVM_CAP_MAX_VCPU_ID, "MAX_VCPU_ID", 1 },
		{ KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT", 1 },
		{ KVM_CAP_READONLY_MEM, "READONLY_MEM", 1 },
		{ KVM_CAP_SET_GUEST_DEBUG, "SET_GUEST_DEBUG", 1 },
		{ KVM_CAP_CHECK_EXTENSION_VM, "CHECK_EXTENSION_VM", 1 },
		{ KVM_CAP_GET_TSC_KHZ, "GET_TSC_KHZ", 1 },
		{ KVM_CAP_COALESCED_MMIO, "COALESCED_MMIO", 1 },
		{ KVM_CAP_HLT, "HLT", 1 },
		{ KVM_CAP_IRQCHIP, "IRQCHIP", 1 },
		{ KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING", 1 },
		{ KVM_CAP_IRQ_INJECT_STATUS, "IRQ_INJECT_STATUS", 1 },
		{ KVM_CAP_PIT2, "PIT2", 1 },
		{ KVM_CAP_PIT_STATE2, "PIT_STATE2", 1 },
		{ KVM_CAP_IOEVENTFD, "IOEVENTFD", 1 },
		{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "IOEVENTFD_ANY_LENGTH", 1 },
		{ KVM_CAP_IRQFD, "IRQFD", 1 },
		{ KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI", 1 },
		{ KVM_CAP_MCE, "MCE", 1 },
		{ KVM_CAP_TSC_DEADLINE_TIMER, "TSC_DEADLINE_TIMER", 1 },
	};
	struct vm *vm = vm_create_bare(0);
	unsigned int i;

	for (i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		if (kvm_cap(vm->kvm, caps[i].cap) < caps[i].least)
			tap_fail(__FILE__, __LINE__, "/dev/kvm: no KVM_CAP_%s", caps[i].name);
		if (kvm_cap(vm->fd, caps[i].cap) < caps[i].least)
			tap_fail(__FILE__, __LINE__, "VM fd: no KVM_CAP_%s", caps[i].name);
	}
	CHECK_EQ(kvm_cap(vm->kvm, 0x7fffffff), 0);
	CHECK_EQ(kvm_cap(vm->kvm, 100000), 0);
	CHECK_EQ(kvm_cap(vm->kvm, -1), 0);
	vm_destroy(vm);
}

enum fd_kind { SYS, VM, VCPU, NR_KINDS };

struct probe {
	int cap;	/* -1: always there */
	enum fd_kind fd;
	unsigned long cmd;
	const char *name;
};

#define P(cap, fd, cmd) { cap, fd, cmd, #cmd }

/* One row for each ioctl that takes a pointer; NULL must be -EFAULT on its fd. */
static const struct probe probes[] = {
	P(-1, SYS, KVM_GET_MSR_INDEX_LIST),
	P(KVM_CAP_GET_MSR_FEATURES, SYS, KVM_GET_MSR_FEATURE_INDEX_LIST),
	P(KVM_CAP_GET_MSR_FEATURES, SYS, KVM_GET_MSRS),
	P(KVM_CAP_EXT_CPUID, SYS, KVM_GET_SUPPORTED_CPUID),
	P(KVM_CAP_EXT_EMUL_CPUID, SYS, KVM_GET_EMULATED_CPUID),
	P(KVM_CAP_USER_MEMORY, VM, KVM_SET_USER_MEMORY_REGION),
	P(KVM_CAP_USER_MEMORY, VM, KVM_GET_DIRTY_LOG),
	P(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, VM, KVM_CLEAR_DIRTY_LOG),
	P(KVM_CAP_COALESCED_MMIO, VM, KVM_REGISTER_COALESCED_MMIO),
	P(KVM_CAP_COALESCED_MMIO, VM, KVM_UNREGISTER_COALESCED_MMIO),
	P(KVM_CAP_SET_IDENTITY_MAP_ADDR, VM, KVM_SET_IDENTITY_MAP_ADDR),
	P(KVM_CAP_ADJUST_CLOCK, VM, KVM_SET_CLOCK),
	P(KVM_CAP_ADJUST_CLOCK, VM, KVM_GET_CLOCK),
	P(KVM_CAP_ENABLE_CAP_VM, VM, KVM_ENABLE_CAP),
	P(KVM_CAP_X86_MSR_FILTER, VM, KVM_X86_SET_MSR_FILTER),
	P(KVM_CAP_IRQFD, VM, KVM_IRQFD),
	P(KVM_CAP_IOEVENTFD, VM, KVM_IOEVENTFD),
	P(KVM_CAP_IRQ_ROUTING, VM, KVM_SET_GSI_ROUTING),
	P(KVM_CAP_SIGNAL_MSI, VM, KVM_SIGNAL_MSI),
	P(KVM_CAP_DEVICE_CTRL, VM, KVM_CREATE_DEVICE),
	P(-1, VCPU, KVM_GET_REGS),
	P(-1, VCPU, KVM_SET_REGS),
	P(-1, VCPU, KVM_GET_SREGS),
	P(-1, VCPU, KVM_SET_SREGS),
	P(KVM_CAP_SREGS2, VCPU, KVM_GET_SREGS2),
	P(KVM_CAP_SREGS2, VCPU, KVM_SET_SREGS2),
	P(-1, VCPU, KVM_GET_FPU),
	P(-1, VCPU, KVM_SET_FPU),
	P(KVM_CAP_XSAVE, VCPU, KVM_GET_XSAVE),
	P(KVM_CAP_XSAVE, VCPU, KVM_SET_XSAVE),
	P(KVM_CAP_XSAVE2, VCPU, KVM_GET_XSAVE2),
	P(KVM_CAP_XCRS, VCPU, KVM_GET_XCRS),
	P(KVM_CAP_XCRS, VCPU, KVM_SET_XCRS),
	P(-1, VCPU, KVM_GET_MSRS),
	P(-1, VCPU, KVM_SET_MSRS),
	P(-1, VCPU, KVM_SET_CPUID2),
	P(-1, VCPU, KVM_GET_CPUID2),
	P(KVM_CAP_DEBUGREGS, VCPU, KVM_GET_DEBUGREGS),
	P(KVM_CAP_DEBUGREGS, VCPU, KVM_SET_DEBUGREGS),
	P(KVM_CAP_MP_STATE, VCPU, KVM_GET_MP_STATE),
	P(KVM_CAP_MP_STATE, VCPU, KVM_SET_MP_STATE),
	P(KVM_CAP_VCPU_EVENTS, VCPU, KVM_GET_VCPU_EVENTS),
	P(KVM_CAP_VCPU_EVENTS, VCPU, KVM_SET_VCPU_EVENTS),
	P(-1, VCPU, KVM_INTERRUPT),
	P(-1, VCPU, KVM_TRANSLATE),
	P(KVM_CAP_SET_GUEST_DEBUG, VCPU, KVM_SET_GUEST_DEBUG),
	P(KVM_CAP_NESTED_STATE, VCPU, KVM_GET_NESTED_STATE),
	P(KVM_CAP_NESTED_STATE, VCPU, KVM_SET_NESTED_STATE),
};

#define NR_PROBES (sizeof(probes) / sizeof(probes[0]))

TEST(bad_pointers)
{
	/* Some VM ioctls look first whether there is a vCPU already: a VM without for those. */
	struct vm *vm = vm_create(1), *empty = vm_create_bare(0);
	int fds[] = { vm->kvm, empty->fd, vm->vcpu->fd };
	unsigned int i;
	int r;

	for (i = 0; i < NR_PROBES; i++) {
		if (probes[i].cap >= 0 && kvm_cap(vm->kvm, probes[i].cap) <= 0)
			continue;
		r = kvm_ioctl(fds[probes[i].fd], probes[i].cmd, NULL);
		if (r != -EFAULT)
			tap_fail(__FILE__, __LINE__, "%s(NULL): %d", probes[i].name, r);
		r = kvm_ioctl_val(fds[probes[i].fd], probes[i].cmd, 0xffff800000000000ul);
		if (r != -EFAULT)
			tap_fail(__FILE__, __LINE__, "%s(kernel address): %d", probes[i].name, r);
	}
	vm_destroy(vm);
}

static bool served_by(unsigned long cmd, enum fd_kind kind)
{
	unsigned int i;

	for (i = 0; i < NR_PROBES; i++)
		if (probes[i].cmd == cmd && probes[i].fd == kind)
			return true;
	/* KVM_ENABLE_CAP and the attribute ioctls serve more than one kind. */
	return cmd == KVM_ENABLE_CAP;
}

/* A VM command on a vCPU and so on; an unknown command; a known number with another size. */
TEST(wrong_fd)
{
	struct vm *vm = vm_create(1);
	int fds[] = { vm->kvm, vm->fd, vm->vcpu->fd };
	unsigned int i, k;
	int r;

	for (i = 0; i < NR_PROBES; i++) {
		for (k = 0; k < NR_KINDS; k++) {
			if (served_by(probes[i].cmd, k))
				continue;
			r = kvm_ioctl(fds[k], probes[i].cmd, NULL);
			/* The in-tree module answers some with EINVAL. */
			if (r != -ENOTTY && (on_strata() || r != -EINVAL))
				tap_fail(__FILE__, __LINE__, "%s on fd kind %u: %d",
					 probes[i].name, k, r);
		}
	}
	for (k = 0; k < NR_KINDS; k++) {
		r = kvm_ioctl(fds[k], _IO(KVMIO, 0xff), NULL);
		CHECK(r == -ENOTTY || (!on_strata() && r == -EINVAL));
		r = kvm_ioctl(fds[k], _IO('x', 1), NULL);
		CHECK(r == -ENOTTY || (!on_strata() && r == -EINVAL));
		r = kvm_ioctl(fds[k], _IOW(KVMIO, 0x82, u8), NULL);
		CHECK(r == -ENOTTY || (!on_strata() && r == -EINVAL));
	}
	CHECK_EQ(write(vm->kvm, "x", 1), -1);
	CHECK_EQ(errno, EINVAL);
	vm_destroy(vm);
}

/* nent too small: -E2BIG; exactly right: success; one entry of room more: the true number. */
TEST(cpuid_sizes)
{
	int kvm = kvm_open();
	struct kvm_cpuid2 *cpuid = supported_cpuid(kvm);
	u32 n = cpuid->nent;

	REQUIRE(n > 2 && n < 256);
	cpuid->nent = n;
	CHECK_EQ(kvm_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), 0);
	CHECK_EQ(cpuid->nent, n);
	cpuid->nent = n - 1;
	CHECK_EQ(kvm_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), -E2BIG);
	cpuid->nent = 0;
	CHECK_EQ(kvm_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), -E2BIG);
	CHECK(cpuid_entry(supported_cpuid(kvm), 0x80000000, 0) != NULL);
	CHECK(cpuid_entry(supported_cpuid(kvm), 1, 0) != NULL);
}

/* Nothing is emulated that the CPU does not have: an empty list, whatever room there is. */
TEST(emulated_cpuid)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[4];
	} c = { .head.nent = 4 };
	int kvm = kvm_open();

	STRATA_ONLY("the in-tree module emulates instructions");
	CHECK_EQ(kvm_cap(kvm, KVM_CAP_EXT_EMUL_CPUID), 0);
	CHECK_EQ(kvm_ioctl(kvm, KVM_GET_EMULATED_CPUID, &c), 0);
	CHECK_EQ(c.head.nent, 0);
	CHECK_EQ(kvm_ioctl(kvm, KVM_GET_EMULATED_CPUID, NULL), -EFAULT);
}

/* KVM_CAP_SYS_ATTRIBUTES: which state components a guest may have is what CPUID leaf 0xd says. */
TEST(guest_components)
{
	u64 mask = ~0ull;
	struct kvm_device_attr attr = { .attr = 0 /* KVM_X86_XCOMP_GUEST_SUPP */, .addr = (u64)&mask };
	int kvm = kvm_open();
	struct kvm_cpuid_entry2 *e = cpuid_entry(supported_cpuid(kvm), 0xd, 0);

	NEED_CAP(KVM_CAP_SYS_ATTRIBUTES);
	CHECK_EQ(kvm_ioctl(kvm, KVM_HAS_DEVICE_ATTR, &attr), 0);
	CHECK_EQ(kvm_ioctl(kvm, KVM_GET_DEVICE_ATTR, &attr), 0);
	CHECK_EQ(mask & ~3ull, e ? (e->eax | (u64)e->edx << 32) & ~3ull : 0);
	attr.addr = 8;
	CHECK_EQ(kvm_ioctl(kvm, KVM_GET_DEVICE_ATTR, &attr), -EFAULT);
	attr.attr = 77;
	CHECK_EQ(kvm_ioctl(kvm, KVM_HAS_DEVICE_ATTR, &attr), -ENXIO);
	CHECK_EQ(kvm_ioctl(kvm, KVM_GET_DEVICE_ATTR, &attr), -ENXIO);
}

static void check_msr_list(int kvm, unsigned long cmd)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + 1024 * sizeof(u32));
	u32 n, i, j;

	CHECK_EQ(kvm_ioctl(kvm, cmd, list), -E2BIG);
	n = list->nmsrs;
	REQUIRE(n > 0 && n <= 1024);
	CHECK_EQ(kvm_ioctl(kvm, cmd, list), 0);
	CHECK_EQ(list->nmsrs, n);
	for (i = 0; i < n; i++)
		for (j = 0; j < i; j++)
			if (list->indices[i] == list->indices[j])
				tap_fail(__FILE__, __LINE__, "MSR %#x listed twice",
					 list->indices[i]);
	list->nmsrs = n - 1;
	CHECK_EQ(kvm_ioctl(kvm, cmd, list), -E2BIG);
	CHECK_EQ(list->nmsrs, n);
	free(list);
}

TEST(msr_lists)
{
	int kvm = kvm_open();

	check_msr_list(kvm, KVM_GET_MSR_INDEX_LIST);
	if (kvm_cap(kvm, KVM_CAP_GET_MSR_FEATURES) > 0)
		check_msr_list(kvm, KVM_GET_MSR_FEATURE_INDEX_LIST);
}

TEST(create_vm_types)
{
	int kvm = kvm_open();

	CHECK_EQ(kvm_ioctl_val(kvm, KVM_CREATE_VM, 0xdead), -EINVAL);
	CHECK_EQ(kvm_ioctl_val(kvm, KVM_CREATE_VM, -1), -EINVAL);
}
