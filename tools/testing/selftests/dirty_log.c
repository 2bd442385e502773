// SPDX-License-Identifier: GPL-2.0
/*
 * What: KVM_GET_DIRTY_LOG and KVM_CLEAR_DIRTY_LOG: exact bits for known writes, cleared by the get,
 * manual protection, writes by userspace ioctls of the guest's behalf, large pages, switching
 * logging on and off, two vCPUs writing while a third thread collects.
 * Conditions: manual protection needs KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.
 * Expected: a written page is in exactly one of the logs taken after the write; nothing else is.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu.h"

#define GPA	0x10000000ull
#define PAGES	2048ull
#define SIZE	(PAGES * 4096)
#define LOG	KVM_MEM_LOG_DIRTY_PAGES

static volatile u64 first, step, count;

static void guest_writer(void)
{
	u64 i;

	for (;;) {
		for (i = 0; i < count; i++)
			*(volatile u64 *)(GPA + ((first + i * step) % PAGES) * 4096 + 8) = i + 1;
		guest_sync(count);
	}
}

static void write_pages(struct vm *vm, u64 start, u64 stride, u64 n)
{
	*guest_var(vm, &first) = start;
	*guest_var(vm, &step) = stride;
	*guest_var(vm, &count) = n;
	RUN_UNTIL_SYNC(vm->vcpu, n);
}

static int get_log(struct vm *vm, u64 *bitmap)
{
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };

	memset(bitmap, 0xff, PAGES / 8);
	return kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
}

static int clear_log(struct vm *vm, u64 page, u32 n, u64 *bitmap)
{
	struct kvm_clear_dirty_log log = {
		.slot = 1, .num_pages = n, .first_page = page, .dirty_bitmap = bitmap,
	};

	return kvm_ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &log);
}

static unsigned int bits(const u64 *bitmap)
{
	unsigned int i, n = 0;

	for (i = 0; i < PAGES / 64; i++)
		n += __builtin_popcountll(bitmap[i]);
	return n;
}

static bool test_bit(const u64 *bitmap, u64 page)
{
	return bitmap[page / 64] >> (page % 64) & 1;
}

static struct vm *log_vm(u32 flags, bool huge)
{
	struct vm *vm = vm_create(1);
	u8 *mem = host_alloc(SIZE, 2 << 20);

	madvise(mem, SIZE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(mem, 0, SIZE);
	REQUIRE_EQ(vm_set_slot(vm, 1, flags, GPA, SIZE, mem), 0);
	vcpu_set_long(vm->vcpu, guest_writer, 0);
	return vm;
}

static void check_exact(bool huge)
{
	struct vm *vm = log_vm(LOG, huge);
	u64 bitmap[PAGES / 64];
	unsigned int i;

	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), 0);
	write_pages(vm, 5, 7, 100);
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), 100);
	for (i = 0; i < 100; i++)
		CHECK(test_bit(bitmap, 5 + 7 * i));
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), 0);
	/* The same pages again, and all. */
	write_pages(vm, 5, 7, 10);
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), 10);
	write_pages(vm, 0, 1, PAGES);
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), PAGES);
	write_pages(vm, PAGES - 1, 1, 2);
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), 2);
	CHECK(test_bit(bitmap, PAGES - 1) && test_bit(bitmap, 0));
	vm_destroy(vm);
}

TEST(exact_small)
{
	check_exact(false);
}

TEST(exact_large)
{
	check_exact(true);
}

/* Logging goes on for a slot whose pages are mapped writable and large already, and off again. */
TEST(on_and_off)
{
	struct vm *vm = log_vm(0, true);
	u64 bitmap[PAGES / 64];
	void *mem = NULL;
	int i;

	/* The slot's host address, for the flag changes. */
	vm_set_slot(vm, 1, 0, 0, 0, NULL);
	mem = host_alloc(SIZE, 2 << 20);
	madvise(mem, SIZE, MADV_HUGEPAGE);
	memset(mem, 0, SIZE);
	for (i = 0; i < 3; i++) {
		REQUIRE_EQ(vm_set_slot(vm, 1, 0, GPA, SIZE, mem), 0);
		CHECK_EQ(get_log(vm, bitmap), -ENOENT);
		write_pages(vm, 0, 1, PAGES);
		REQUIRE_EQ(vm_set_slot(vm, 1, LOG, GPA, SIZE, mem), 0);
		write_pages(vm, 3, 512, 4);
		CHECK_EQ(get_log(vm, bitmap), 0);
		CHECK_EQ(bits(bitmap), 4);
		CHECK(test_bit(bitmap, 3) && test_bit(bitmap, 1539));
	}
	vm_destroy(vm);
}

TEST(errors)
{
	struct vm *vm = log_vm(LOG, false);
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = (void *)8 };
	u64 bitmap[PAGES / 64];

	CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), -EFAULT);
	log = (struct kvm_dirty_log){ .slot = 2, .dirty_bitmap = bitmap };
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), -ENOENT);
	log.slot = 0;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), -ENOENT);
	log.slot = 0xffff;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), -EINVAL);
	log.slot = 1 | 9 << 16;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), -EINVAL);
	vm_destroy(vm);
}

static void enable_manual(struct vm *vm, u64 how)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args[0] = how,
	};

	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

TEST(manual_protect)
{
	struct vm *vm;
	u64 bitmap[PAGES / 64], ones[PAGES / 64];

	NEED_CAP(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	vm = log_vm(LOG, false);
	memset(ones, 0xff, sizeof(ones));
	enable_manual(vm, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
	write_pages(vm, 0, 1, 256);
	/* A get neither clears nor protects. */
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), 256);
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), 256);
	CHECK_EQ(clear_log(vm, 64, 64, ones), 0);
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), 192);
	CHECK(!test_bit(bitmap, 64) && !test_bit(bitmap, 127) && test_bit(bitmap, 128));
	write_pages(vm, 70, 1, 1);
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), 193);
	CHECK(test_bit(bitmap, 70));
	/* Only the named bits. */
	memset(ones, 0, sizeof(ones));
	ones[0] = 0xf0;
	CHECK_EQ(clear_log(vm, 0, PAGES, ones), 0);
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), 189);
	/* Range rules: 64-aligned start; length too unless it ends the slot; within the slot. */
	CHECK_EQ(clear_log(vm, 32, 64, ones), -EINVAL);
	CHECK_EQ(clear_log(vm, 0, 32, ones), -EINVAL);
	CHECK_EQ(clear_log(vm, PAGES, 64, ones), -EINVAL);
	CHECK_EQ(clear_log(vm, PAGES - 64, 128, ones), -EINVAL);
	CHECK_EQ(clear_log(vm, 0, 64, (void *)8), -EFAULT);
	vm_destroy(vm);
}

/* With KVM_DIRTY_LOG_INITIALLY_SET all starts dirty, and a clear begins the logging. */
TEST(initially_set)
{
	struct vm *vm = vm_create(1);
	u64 bitmap[PAGES / 64], ones[PAGES / 64];
	u8 *mem = host_alloc(SIZE, 2 << 20);

	if (!(kvm_cap(vm->kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & KVM_DIRTY_LOG_INITIALLY_SET))
		tap_skip("KVM_DIRTY_LOG_INITIALLY_SET not offered");
	enable_manual(vm, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
	madvise(mem, SIZE, MADV_HUGEPAGE);
	memset(ones, 0xff, sizeof(ones));
	REQUIRE_EQ(vm_set_slot(vm, 1, LOG, GPA, SIZE, mem), 0);
	vcpu_set_long(vm->vcpu, guest_writer, 0);
	write_pages(vm, 0, 1, 100);
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), PAGES);
	CHECK_EQ(clear_log(vm, 0, PAGES, ones), 0);
	write_pages(vm, 9, 100, 3);
	CHECK_EQ(get_log(vm, bitmap), 0);
	CHECK_EQ(bits(bitmap), 3);
	vm_destroy(vm);
}

static volatile u64 stop;

/* Each vCPU counts up in its own word of its own pages. */
static void guest_racer(u64 me)
{
	u64 page, seq;

	guest_sti();
	for (seq = 1; !stop; seq++)
		for (page = me; page < PAGES; page += 2 * 16)
			*(volatile u64 *)(GPA + page * 4096) = seq;
	guest_done();
}

static void *run_to_done(void *vcpu)
{
	RUN_UNTIL_DONE((struct vcpu *)vcpu);
	return NULL;
}

/* A migration in small: copies of the dirty pages must end up equal to the memory. */
TEST_TIMEOUT(two_vcpus_race, 120)
{
	struct vm *vm = vm_create(2);
	u64 *mem = host_alloc(SIZE, 2 << 20), *copy = host_alloc(SIZE, 4096);
	u64 bitmap[PAGES / 64], page;
	pthread_t threads[2];
	int i, round;

	memset(mem, 0, SIZE);
	REQUIRE_EQ(vm_set_slot(vm, 1, LOG, GPA, SIZE, mem), 0);
	for (i = 0; i < 2; i++) {
		vcpu_set_long(&vm->vcpu[i], guest_racer, i);
		pthread_create(&threads[i], NULL, run_to_done, &vm->vcpu[i]);
	}
	for (round = 0; round <= 60; round++) {
		if (round == 60) {
			*guest_var(vm, &stop) = 1;
			for (i = 0; i < 2; i++)
				pthread_join(threads[i], NULL);
		}
		CHECK_EQ(get_log(vm, bitmap), 0);
		for (page = 0; page < PAGES; page++)
			if (test_bit(bitmap, page))
				copy[page * 512] = mem[page * 512];
		if (round % 16 == 0)
			usleep(2000);
	}
	for (page = 0; page < PAGES; page++)
		if (copy[page * 512] != mem[page * 512])
			break;
	CHECK_EQ(page, PAGES);
	CHECK(mem[0] > 0 && mem[512] > 0);
	vm_destroy(vm);
}
