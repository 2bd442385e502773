// SPDX-License-Identifier: GPL-2.0
/*
 * What: ioctls of a 32-bit program, made by a 64-bit one through the 32-bit system call: those
 * whose argument holds a pointer, and KVM_RUN.
 * Conditions: a kernel with 32-bit system calls; KVM_CAP_X86_MSR_FILTER,
 * KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.
 * Expected: pointers have 32 bits, whatever the upper half of their union holds; an MSR filter has
 * the 32-bit layout and only there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"

#define GPA	0x10000000ull
#define PAGES	128ull
#define GARBAGE	(0xdeadbeefull << 32)

/* What 32-bit headers make of it */
struct filter32 {
	u32 flags;
	struct {
		u32 flags, nmsrs, base, bitmap;
	} ranges[KVM_MSR_FILTER_MAX_RANGES];
};

#define KVM_X86_SET_MSR_FILTER32 _IOW(KVMIO, 0xc6, struct filter32)

/* All of it static: below 4 GiB, where 32-bit pointers reach. */
static u64 bitmap[PAGES / 64];
static struct kvm_dirty_log get;
static struct kvm_clear_dirty_log clear;
static struct filter32 filter;
static u8 deny[8];

static int ioctl32(int fd, u32 cmd, const void *arg)
{
	long r;

	/* __NR_ioctl of the 32-bit table */
	asm volatile("int $0x80" : "=a"(r) : "a"(54l), "b"((long)fd), "c"((long)cmd), "d"((long)arg)
		     : "r8", "r9", "r10", "r11", "memory");
	return (int)r;
}

static void no_32_bit(int sig)
{
	(void)sig;
	_exit(4);
}

static void need_32_bit(void)
{
	signal(SIGSEGV, no_32_bit);
	if (ioctl32(-1, KVM_RUN, NULL) != -EBADF)
		tap_skip("no 32-bit system calls");
	signal(SIGSEGV, SIG_DFL);
}

static void guest_writes(void)
{
	*(volatile u64 *)(GPA + 5 * 4096) = 1;
	guest_sync(1);
	*(volatile u64 *)(GPA + 7 * 4096) = 1;
	guest_sync(2);
	guest_done();
}

static struct vm *logging_vm(void)
{
	struct vm *vm = vm_create(1);

	REQUIRE(!vm_set_slot(vm, 1, KVM_MEM_LOG_DIRTY_PAGES, GPA, PAGES * 4096, host_alloc(PAGES * 4096, 4096)));
	vcpu_set_long(vm->vcpu, guest_writes, 0);
	get = (struct kvm_dirty_log) { .slot = 1 };
	get.padding2 = GARBAGE | (u32)(u64)bitmap;
	return vm;
}

TEST(dirty_log)
{
	struct vm *vm;

	need_32_bit();
	vm = logging_vm();
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &get), -EFAULT);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	bitmap[0] = ~0ull;
	CHECK_EQ(ioctl32(vm->fd, KVM_GET_DIRTY_LOG, &get), 0);
	CHECK_EQ(bitmap[0], 1ull << 7);
	vm_destroy(vm);
}

TEST(clear_dirty_log)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE };
	struct vm *vm;

	need_32_bit();
	NEED_CAP(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	vm = logging_vm();
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	clear = (struct kvm_clear_dirty_log) { .slot = 1, .num_pages = PAGES };
	clear.padding2 = GARBAGE | (u32)(u64)bitmap;
	bitmap[0] = 1ull << 5;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear), -EFAULT);
	CHECK_EQ(ioctl32(vm->fd, KVM_GET_DIRTY_LOG, &get), 0);
	CHECK_EQ(bitmap[0], 1ull << 5);
	CHECK_EQ(ioctl32(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear), 0);
	CHECK_EQ(ioctl32(vm->fd, KVM_GET_DIRTY_LOG, &get), 0);
	CHECK_EQ(bitmap[0], 0);
	vm_destroy(vm);
}

static void guest_reads_msr(void)
{
	rdmsr(MSR_TSC_AUX);
	guest_done();
}

TEST(msr_filter)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args[0] = KVM_MSR_EXIT_REASON_FILTER };
	struct vm *vm;

	need_32_bit();
	NEED_CAP(KVM_CAP_X86_MSR_FILTER);
	vm = vm_create(1);
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	filter.ranges[0].flags = KVM_MSR_FILTER_READ;
	filter.ranges[0].base = MSR_TSC_AUX;
	filter.ranges[0].nmsrs = 1;
	filter.ranges[0].bitmap = (u32)(u64)deny;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_X86_SET_MSR_FILTER32, &filter), -ENOTTY);
	filter.ranges[0].nmsrs = KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8 + 1;
	CHECK_EQ(ioctl32(vm->fd, KVM_X86_SET_MSR_FILTER32, &filter), -EINVAL);
	filter.ranges[0].nmsrs = 1;
	CHECK_EQ(ioctl32(vm->fd, KVM_X86_SET_MSR_FILTER32, &filter), 0);
	vcpu_set_long(vm->vcpu, guest_reads_msr, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_X86_RDMSR);
	CHECK_EQ(vm->vcpu->run->msr.index, MSR_TSC_AUX);
	vm->vcpu->run->msr.data = 1;
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void guest_outs(void)
{
	out8(0x600, 1);
	guest_done();
}

TEST(run)
{
	struct vm *vm;

	need_32_bit();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_outs, 0);
	CHECK_EQ(ioctl32(vm->vcpu->fd, KVM_RUN, NULL), 0);
	CHECK_EQ(vm->vcpu->run->exit_reason, KVM_EXIT_IO);
	CHECK_EQ(ioctl32(vm->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_NR_MEMSLOTS), kvm_cap(vm->fd, KVM_CAP_NR_MEMSLOTS));
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
