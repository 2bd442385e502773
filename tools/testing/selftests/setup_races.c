// SPDX-License-Identifier: GPL-2.0
/*
 * What: set-up that fails half-way or is raced on purpose: an irqchip that finds no room on the
 * port bus, MSR filters that change while vCPUs are made and get their CPUID.
 * Conditions: each case skips without its capability.
 * Expected: the documented errno, and afterwards a VM on which nothing was set up; the last filter
 * counts for every vCPU.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cpu.h"

#define DOORBELLS	1100
#define FIRST_PORT	0x1000

static int add_doorbell(struct vm *vm, int fd, unsigned int i, u32 flags)
{
	struct kvm_ioeventfd arg = { .addr = FIRST_PORT + i, .len = 1, .fd = fd, .flags = KVM_IOEVENTFD_FLAG_PIO | flags };

	return kvm_ioctl(vm->fd, KVM_IOEVENTFD, &arg);
}

/* Until the bus is full; returns how many there are. */
static unsigned int fill_bus(struct vm *vm, int fd)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < DOORBELLS && !ret; i++)
		ret = add_doorbell(vm, fd, i, 0);
	REQUIRE_EQ(ret, -ENOSPC);
	return i - 1;
}

static int raise_line(struct vm *vm, u32 gsi)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = 1 };
	int ret = kvm_ioctl(vm->fd, KVM_IRQ_LINE_STATUS, &irq);

	return ret ? ret : (int)irq.status;
}

/*
 * The controllers' ports find no room: their pins must not be routed to nowhere when a split
 * irqchip follows.
 */
TEST(irqchip_without_room)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	unsigned int room, n;
	int fd = eventfd(0, 0);
	u32 gsi;

	NEED_CAP(KVM_CAP_IOEVENTFD);
	NEED_CAP(KVM_CAP_SPLIT_IRQCHIP);
	for (room = 0; room < 3; room++) {
		struct vm *vm = vm_create_bare(0);

		n = fill_bus(vm, fd);
		for (gsi = 0; gsi < room; gsi++)
			REQUIRE_EQ(add_doorbell(vm, fd, --n, KVM_IOEVENTFD_FLAG_DEASSIGN), 0);
		CHECK_EQ(kvm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL), -ENOSPC);
		CHECK_EQ(raise_line(vm, 4), -ENXIO);
		xioctl(vm->fd, KVM_ENABLE_CAP, &split);
		for (gsi = 0; gsi < 24; gsi++)
			CHECK_EQ(raise_line(vm, gsi), -1);
		vm_destroy(vm);
	}
	close(fd);
}

static void *change_filters(void *arg)
{
	static u8 all[2] = { 0xff, 0xff };
	struct kvm_msr_filter f = { .ranges[0] = { .flags = KVM_MSR_FILTER_READ, .nmsrs = 16, .base = 0x174, .bitmap = all } };
	struct kvm_msr_filter none = { };
	struct vm *vm = arg;
	int i;

	for (i = 0; i < 500; i++) {
		xioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &f);
		xioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &none);
	}
	return NULL;
}

/* CPUID that is set makes the vCPU look at the filter. */
TEST(filter_during_cpuid)
{
	struct kvm_cpuid2 *cpuid;
	struct vm *vm;
	pthread_t t;
	int i;

	NEED_CAP(KVM_CAP_X86_MSR_FILTER);
	vm = vm_create_bare(2);
	cpuid = supported_cpuid(vm->kvm);
	REQUIRE(!pthread_create(&t, NULL, change_filters, vm));
	for (i = 0; i < 500; i++)
		xioctl(vm->vcpu[i & 1].fd, KVM_SET_CPUID2, cpuid);
	pthread_join(t, NULL);
	vm_destroy(vm);
}
