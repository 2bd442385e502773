// SPDX-License-Identifier: GPL-2.0
/*
 * What: L1's memory changes on the host while L2 uses it through L1's nested page tables: dropped,
 * mapped anew, copied on write, its slot removed and put back, above 4G, logged, at many places at
 * once; L2's accesses to what is no memory.
 * Conditions: guests are offered SVM with nested paging.
 * Expected: as for the same accesses by L1; exits name L1's physical addresses.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "npt.h"

#define SIZE	(4ull << 20)
#define PAGES	(SIZE / 4096)
#define LOW	0x10000000ull
#define HIGH	0x140000000ull	/* 5G */
#define HOLE	0x30000000ull

/* Set by the host: L1's address of the memory, and the size of L1's leaves */
static volatile u64 l1_gpa, l1_level;
static volatile u64 peek, poke, poke_value;
static struct npt npt;

/* L2: sees L1's memory at NPT_PLAY, and the hole one gigabyte further */
static void l2_peek(void)
{
	for (;;) {
		if (poke)
			*(volatile u64 *)(NPT_PLAY + peek) = poke_value;
		guest_sync(*(volatile u64 *)(NPT_PLAY + peek));
	}
}

static void guest_l1(void)
{
	u64 step = 1ull << (12 + 9 * (l1_level - 1)), ps = l1_level > 1 ? PTE_PS : 0, off;

	npt_guest_init(&npt, NPT_4LEVEL);
	for (off = 0; off < SIZE; off += step)
		npt_set(&npt, NPT_PLAY + (l1_gpa & (step - 1)) + off, l1_level,
			((l1_gpa + off) & ~(step - 1)) | NPT_RWX | ps);
	npt_set(&npt, 2 * NPT_PLAY, 1, HOLE | NPT_RWX);
	svm_guest_restart(l2_peek);
	for (;;)
		GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), 0);
}

static struct vm *nested_vm(void *mem, u64 gpa, int level, u32 flags)
{
	struct vm *vm;

	need_npt();
	vm = vm_create(1);
	REQUIRE_EQ(vm_set_slot(vm, 1, flags, gpa, SIZE, mem), 0);
	*guest_var(vm, &l1_gpa) = gpa;
	*guest_var(vm, &l1_level) = level;
	vcpu_set_long(vm->vcpu, guest_l1, 0);
	return vm;
}

/* Where L2 sees offset 0 of the memory */
static u64 window(struct vm *vm)
{
	return *guest_var(vm, &l1_level) == 3 ? *guest_var(vm, &l1_gpa) & 0x3fffffff : 0;
}

static void ask(struct vm *vm, u64 off)
{
	*guest_var(vm, &poke) = 0;
	*guest_var(vm, &peek) = window(vm) + off;
}

static u64 l2_read(struct vm *vm, u64 off)
{
	ask(vm, off);
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	return vcpu_sync_value(vm->vcpu);
}

static void l2_write(struct vm *vm, u64 off, u64 value)
{
	ask(vm, off);
	*guest_var(vm, &poke) = 1;
	*guest_var(vm, &poke_value) = value;
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	CHECK_EQ(vcpu_sync_value(vm->vcpu), value);
}

static void host_changes(u64 gpa, int level)
{
	u64 *mem = host_alloc(SIZE, SIZE), *other = host_alloc(SIZE, SIZE);
	struct vm *vm = nested_vm(mem, gpa, level, 0);
	int pid, i;

	for (i = 0; i < 3; i++) {
		mem[0] = 0x100 + i;
		mem[1 << 17] = 0x200 + i;
		CHECK_EQ(l2_read(vm, 0), 0x100 + i);
		l2_write(vm, 1 << 20, 0x300 + i);
		CHECK_EQ(mem[1 << 17], 0x300 + i);
		REQUIRE(!madvise(mem, SIZE, MADV_DONTNEED));
		CHECK_EQ(l2_read(vm, 0), 0);
		CHECK_EQ(l2_read(vm, 1 << 20), 0);
	}
	other[0] = 3;
	other[512] = 4;
	REQUIRE(mremap(other, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, mem) == mem);
	CHECK_EQ(l2_read(vm, 0), 3);
	CHECK_EQ(l2_read(vm, 4096), 4);
	l2_write(vm, 8, 5);
	CHECK_EQ(mem[1], 5);
	/*
	 * A child has the pages as they are now; L2 writes to copies, which L1's memory is from
	 * then on.
	 */
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	l2_write(vm, 16, 6);
	l2_write(vm, 4096, 7);
	CHECK_EQ(mem[2], 6);
	CHECK_EQ(mem[512], 7);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	vm_destroy(vm);
}

TEST(host_changes_4k) { host_changes(LOW, 1); }
TEST(host_changes_2m) { host_changes(LOW, 2); }
TEST(host_changes_1g) { host_changes(LOW, 3); }
TEST(host_changes_above_4g) { host_changes(HIGH, 1); host_changes(HIGH, 2); }

/* Without its slot L1's memory is a device's; another slot is other memory, at once. */
static void slot_removal(int level)
{
	u64 *mem = host_alloc(SIZE, SIZE), *other = host_alloc(SIZE, SIZE);
	struct vm *vm = nested_vm(mem, LOW, level, 0);
	struct kvm_run *run = vm->vcpu->run;

	mem[1] = 1;
	other[1] = 2;
	CHECK_EQ(l2_read(vm, 8), 1);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, LOW, 0, mem), 0);
	ask(vm, 8);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.phys_addr, LOW + 8);
	CHECK_EQ(run->mmio.is_write, 0);
	CHECK_EQ(run->mmio.len, 8);
	memset(run->mmio.data, 0x55, 8);
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	CHECK_EQ(vcpu_sync_value(vm->vcpu), 0x5555555555555555ll);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, LOW, SIZE, other), 0);
	CHECK_EQ(l2_read(vm, 8), 2);
	/* Read-only: reads are of memory, writes are MMIO. */
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, LOW, 0, mem), 0);
	REQUIRE_EQ(vm_set_slot(vm, 1, KVM_MEM_READONLY, LOW, SIZE, mem), 0);
	CHECK_EQ(l2_read(vm, 8), 1);
	ask(vm, 8);
	*guest_var(vm, &poke) = 1;
	RUN_UNTIL(vm->vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.phys_addr, LOW + 8);
	CHECK_EQ(run->mmio.is_write, 1);
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	CHECK_EQ(vcpu_sync_value(vm->vcpu), 1);
	vm_destroy(vm);
}

TEST(slot_removal_4k) { slot_removal(1); }
TEST(slot_removal_2m) { slot_removal(2); }
TEST(slot_removal_1g) { slot_removal(3); }

TEST(mmio)
{
	u64 *mem = host_alloc(SIZE, SIZE);
	struct vm *vm = nested_vm(mem, LOW, 1, 0);
	struct kvm_run *run = vm->vcpu->run;

	ask(vm, NPT_PLAY + 0x18);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.phys_addr, HOLE + 0x18);
	memset(run->mmio.data, 0x11, 8);
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	CHECK_EQ(vcpu_sync_value(vm->vcpu), 0x1111111111111111ll);
	vm_destroy(vm);
}

/* ---- one frame, or one table, at many places: more than the shadow lists ---- */

#define PLACES 1100

static volatile u64 place_size;

static void l2_sum(void)
{
	u64 sum, i;

	for (;;) {
		for (sum = i = 0; i < PLACES; i++)
			sum += *(volatile u64 *)(NPT_PLAY + i * place_size);
		guest_sync(sum);
	}
}

static void guest_many_places(void)
{
	u64 *table, i;

	npt_guest_init(&npt, NPT_4LEVEL);
	table = (u64 *)npt_page();
	table[0] = l1_gpa | NPT_RWX;
	for (i = 0; i < PLACES; i++)
		npt_set(&npt, NPT_PLAY + i * place_size, l1_level, (l1_level == 1 ? l1_gpa : (u64)table) | NPT_RWX);
	svm_guest_restart(l2_sum);
	for (;;)
		GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), 0);
}

/* @level: of the entries that are the same */
static void many_places(int level)
{
	u64 *mem = host_alloc(SIZE, SIZE), i;
	struct vm *vm = nested_vm(mem, LOW, level, 0);

	*guest_var(vm, &place_size) = level == 1 ? 4096 : 2 << 20;
	vcpu_set_long(vm->vcpu, guest_many_places, 0);
	for (i = 1; i <= 3; i++) {
		mem[0] = i;
		REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
		CHECK_EQ(vcpu_sync_value(vm->vcpu), i * PLACES);
		REQUIRE(!madvise(mem, SIZE, MADV_DONTNEED));
		REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
		CHECK_EQ(vcpu_sync_value(vm->vcpu), 0);
	}
	vm_destroy(vm);
}

TEST(frame_at_many_places) { many_places(1); }
TEST(table_at_many_places) { many_places(2); }

/* ---- dirty log ---- */

static unsigned int take_log(struct vm *vm, u64 *bitmap)
{
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
	unsigned int i, n = 0;

	xioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	for (i = 0; i < PAGES / 64; i++)
		n += __builtin_popcountll(bitmap[i]);
	return n;
}

static void dirty_log(int level)
{
	u64 *mem = host_alloc(SIZE, SIZE), log[PAGES / 64], page;
	struct vm *vm;
	int round;

	madvise(mem, SIZE, MADV_HUGEPAGE);
	memset(mem, 0, SIZE);
	vm = nested_vm(mem, LOW, level, 0);
	/* Before it is switched on, so that writable translations are there */
	for (page = 0; page < PAGES; page += 3)
		l2_write(vm, page * 4096, page);
	REQUIRE_EQ(vm_set_slot(vm, 1, KVM_MEM_LOG_DIRTY_PAGES, LOW, SIZE, mem), 0);
	for (round = 0; round < 3; round++) {
		for (page = round; page < PAGES; page += 97)
			l2_write(vm, page * 4096 + 8, page);
		for (page = 1; page < PAGES; page += 50)
			l2_read(vm, page * 4096);
		CHECK_EQ(take_log(vm, log), (PAGES - round + 96) / 97);
		for (page = round; page < PAGES; page += 97)
			CHECK(log[page / 64] >> page % 64 & 1);
		CHECK_EQ(take_log(vm, log), 0);
	}
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, LOW, SIZE, mem), 0);
	l2_write(vm, 0, 1);
	REQUIRE_EQ(vm_set_slot(vm, 1, KVM_MEM_LOG_DIRTY_PAGES, LOW, SIZE, mem), 0);
	l2_write(vm, 4096, 1);
	CHECK_EQ(take_log(vm, log), 1);
	CHECK_EQ(log[0], 2);
	vm_destroy(vm);
}

TEST(dirty_log_4k) { dirty_log(1); }
TEST(dirty_log_2m) { dirty_log(2); }
TEST(dirty_log_1g) { dirty_log(3); }
