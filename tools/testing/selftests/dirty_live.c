// SPDX-License-Identifier: GPL-2.0
/*
 * What: the dirty log of a guest that goes on running: what it has written is in the next log
 * although its vCPU has not returned to userspace; reads set no bit; more pages than a CPU's own
 * log holds.
 * Conditions: none.
 * Expected: KVM_GET_DIRTY_LOG after the guest said that it has written shows every page, and no
 * other.
 */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu.h"

#define GPA	0x10000000ull
#define PAGES	2048ull
#define SIZE	(PAGES * 4096)
#define LOG	KVM_MEM_LOG_DIRTY_PAGES

static volatile u64 order, done, count, stride, touch_only, value;

/* Works on orders until one is 0, without an exit of its own. */
static void guest_worker(void)
{
	u64 i, seen = 1, sum = 0;

	/* Bochs' CPUs hold the host's interrupts back from a guest with IF clear. */
	asm volatile("sti");
	for (;;) {
		while (order == seen)
			asm volatile("pause");
		seen = order;
		if (!seen)
			guest_done();
		for (i = 0; i < count; i++) {
			volatile u64 *p = (void *)(GPA + i * stride % PAGES * 4096);

			sum += *p;
			if (!touch_only)
				*p = ++value;
		}
		done = seen;
	}
}

static void *run_to_done(void *vcpu)
{
	RUN_UNTIL_DONE((struct vcpu *)vcpu);
	return NULL;
}

struct live {
	struct vm *vm;
	u64 *mem;
	u64 bitmap[PAGES / 64];
	u64 orders;
	pthread_t thread;
};

static void live_begin(struct live *l, bool huge)
{
	l->vm = vm_create(1);
	l->mem = host_alloc(SIZE, 2 << 20);
	l->orders = 1;
	madvise(l->mem, SIZE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(l->mem, 0, SIZE);
	REQUIRE_EQ(vm_set_slot(l->vm, 1, 0, GPA, SIZE, l->mem), 0);
	vcpu_set_long(l->vm->vcpu, guest_worker, 0);
	*guest_var(l->vm, &order) = 1;
	pthread_create(&l->thread, NULL, run_to_done, l->vm->vcpu);
}

static void live_end(struct live *l)
{
	*guest_var(l->vm, &order) = 0;
	pthread_join(l->thread, NULL);
	vm_destroy(l->vm);
	munmap(l->mem, SIZE);
}

/* The guest works, says so, and is still in its loop. */
static void work(struct live *l, u64 n, u64 step, bool only_read)
{
	volatile u64 *said = guest_var(l->vm, &done);

	*guest_var(l->vm, &count) = n;
	*guest_var(l->vm, &stride) = step;
	*guest_var(l->vm, &touch_only) = only_read;
	*(volatile u64 *)guest_var(l->vm, &order) = ++l->orders;
	while (*said != l->orders)
		usleep(1000);
}

static unsigned int get_log(struct live *l)
{
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = l->bitmap };
	unsigned int i, n = 0;

	memset(l->bitmap, 0xff, sizeof(l->bitmap));
	xioctl(l->vm->fd, KVM_GET_DIRTY_LOG, &log);
	for (i = 0; i < PAGES / 64; i++)
		n += __builtin_popcountll(l->bitmap[i]);
	return n;
}

static unsigned int hits(const struct live *l, u64 n, u64 step)
{
	unsigned int found = 0;
	u64 i, page;

	for (i = 0; i < n; i++) {
		page = i * step % PAGES;
		found += l->bitmap[page / 64] >> (page % 64) & 1;
	}
	return found;
}

static void check_live(bool huge)
{
	static const u64 rounds[][2] = { { 1, 1 }, { 100, 7 }, { 511, 3 }, { 512, 1 }, { 513, 5 }, { 1300, 9 }, { PAGES, 1 } };
	struct live l;
	unsigned int i;

	live_begin(&l, huge);
	/* Mapped, written and large before logging begins. */
	work(&l, PAGES, 1, false);
	REQUIRE_EQ(vm_set_slot(l.vm, 1, LOG, GPA, SIZE, l.mem), 0);
	CHECK_EQ(get_log(&l), 0);
	work(&l, PAGES, 1, true);
	CHECK_EQ(get_log(&l), 0);
	for (i = 0; i < sizeof(rounds) / sizeof(rounds[0]); i++) {
		work(&l, rounds[i][0], rounds[i][1], false);
		CHECK_EQ(get_log(&l), rounds[i][0]);
		CHECK_EQ(hits(&l, rounds[i][0], rounds[i][1]), rounds[i][0]);
		work(&l, PAGES, 1, true);
		CHECK_EQ(get_log(&l), 0);
	}
	/* Written twice, reported once; written after the report, reported again. */
	work(&l, 600, 1, false);
	work(&l, 600, 1, false);
	CHECK_EQ(get_log(&l), 600);
	work(&l, 600, 1, false);
	CHECK_EQ(get_log(&l), 600);
	live_end(&l);
}

TEST_TIMEOUT(live_small, 120)
{
	check_live(false);
}

TEST_TIMEOUT(live_large, 120)
{
	check_live(true);
}

/* Logging off and on again under the running guest: nothing of the time between is reported. */
TEST_TIMEOUT(off_and_on, 120)
{
	struct live l;
	int i;

	live_begin(&l, true);
	for (i = 0; i < 3; i++) {
		REQUIRE_EQ(vm_set_slot(l.vm, 1, LOG, GPA, SIZE, l.mem), 0);
		work(&l, 700, 3, false);
		CHECK_EQ(get_log(&l), 700);
		REQUIRE_EQ(vm_set_slot(l.vm, 1, 0, GPA, SIZE, l.mem), 0);
		work(&l, PAGES, 1, false);
	}
	live_end(&l);
}
